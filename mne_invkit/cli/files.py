"""Files that commands read."""

from __future__ import annotations

from pathlib import Path


def read(reader, path: Path):
    """Read a file. Whatever is wrong with it, the error names it."""
    try:
        return reader(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
