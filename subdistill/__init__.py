"""Distill a teacher to a small student for a subtask, with any torch model."""

from importlib.metadata import version

import lazy_loader

__version__ = version("mne-invkit")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
