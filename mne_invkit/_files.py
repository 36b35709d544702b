"""Files and folders that are written whole or not at all, and never over others unasked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder beside its place, and move it there once it is complete.

    Whoever reads `path` finds the old contents or the new, whatever interrupts the writing.

    Parameters
    ----------
    path : path-like
        The file or folder. A file there is replaced. A folder there stays as it is: another
        process has made it in the meantime.

    Yields
    ------
    made : pathlib.Path
        Where to write, with the same name as `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        made = Path(folder) / path.name
        yield made
        try:
            os.replace(made, path)
        except OSError:
            if not path.is_dir():
                raise


def check_new(path: str | Path, overwrite: bool, *, how: str = "overwrite=True") -> None:
    """Raise if a file may not be written.

    Parameters
    ----------
    path : path-like
        The file.
    overwrite : bool
        Whether it may replace one that exists.
    how : str
        What the user passes to replace it.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: choose another name.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass {how} to replace it, or another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist: make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: choose another folder.")
