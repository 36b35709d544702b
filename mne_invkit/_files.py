"""Files and folders that are written whole or not at all, and never over others unasked."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

_POSIX = os.name == "posix"
_HOST = re.sub(r"\W", "_", platform.node())
_DAY = 86400.0  # s
_IN_USE: set[str] = set()  # names of the folders in which this process writes


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder beside its place, and move it there once it is complete.

    Whoever reads `path` finds the old contents or the new, whatever interrupts the writing. What
    a killed process has left beside `path` is removed.

    Parameters
    ----------
    path : path-like
        The file or folder. A file there is replaced; a link stays, and its target is replaced. A
        folder there stays as it is: another process has made it in the meantime.

    Yields
    ------
    made : pathlib.Path
        Where to write, with the same name as `path`.

    Raises
    ------
    OSError
        If it cannot be written, for instance to a full disk; the error names `path`.
    """
    path = Path(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    folder = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target.parent)
        folder = Path(mkdtemp(dir=target.parent, prefix=f".writing-{_HOST}-{os.getpid()}-"))
        _IN_USE.add(folder.name)
        made = folder / target.name
        yield made
        _flush(made)
        if target.is_file():
            shutil.copymode(target, made)
        try:
            os.replace(made, target)
        except OSError:
            if not target.is_dir():
                raise
        _flush_folder(target.parent)
    except OSError as error:
        if error.errno is None or not _is_within(error.filename, folder):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            _IN_USE.discard(folder.name)


def write_bytes(path: str | Path, contents: bytes | memoryview) -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : path-like
        The file.
    contents : bytes | memoryview
        Its contents.
    """
    with write_whole(path) as made:
        made.write_bytes(contents)


def _is_within(name, folder: Path | None) -> bool:
    """Whether an error is about what is written, which has no name or lies in the folder."""
    return folder is None or not isinstance(name, str) or folder in Path(name).parents


def _flush(made: Path) -> None:
    """Bring a file, or all files of a folder, to the disk before others see them."""
    for file in [made] if made.is_file() else made.rglob("*"):
        if file.is_file():
            with open(file, "rb" if _POSIX else "r+b") as opened:
                os.fsync(opened.fileno())


def _flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if _POSIX:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left in a folder."""
    for left in folder.glob(".writing-*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    """Whether the process that made a folder is dead. Of another computer's, age must tell."""
    made_by = re.fullmatch(r"\.writing-(\w*)-(\d+)-\w+", folder.name)
    if made_by and made_by[1] == _HOST and _POSIX:
        pid = int(made_by[2])
        return folder.name not in _IN_USE if pid == os.getpid() else not _is_alive(pid)
    try:
        changed = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:  # its process has just removed it
        return False
    return time.time() - changed > _DAY


def _is_alive(pid: int) -> bool:
    """Whether a process of this computer is alive."""
    try:
        os.kill(pid, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # that of another user
        return True
    return True


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
    if overwrite not in (True, False):
        raise TypeError(f"overwrite must be True or False, got {overwrite!r}.")
    path = Path(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder: choose another name.")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{path} is a device or a pipe, not a file: choose another name.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass {how} to replace it, or another name.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist: make it first.")
    if not all(os.access(p, os.W_OK) for p in (target, target.parent) if p.exists()):
        raise PermissionError(f"{path} cannot be written: choose another folder.")
