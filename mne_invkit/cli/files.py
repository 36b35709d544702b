"""Files that commands read and write."""

from __future__ import annotations

import os
from pathlib import Path


def check_output(path: Path, overwrite: bool) -> None:
    """Can a file be written there, and may it."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass --overwrite, or another name.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: choose another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist: make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: choose another folder.")


def read(reader, path: Path):
    """Read a file; whatever MNE stumbles over, the error says where."""
    try:
        return reader(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
