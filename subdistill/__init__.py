"""Distill a teacher to a small student for a subtask, with any torch model."""

from importlib.metadata import version

import lazy_loader

__version__ = version("mne-invkit")
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{error}. subdistill needs pip install "mne-invkit[train]".', name=error.name
        ) from error
