"""Files: written as a whole or not at all, and read without running anything that they hold."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from torch import Tensor

_UNFINISHED = ".subdistill-writes-"  # begin of the names of new files
_LARGEST = 1_000_000  # bytes of a text; configurations and logs are far smaller

# %% Writing


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a new file beside an old one, and replace the old one at the end.

    If an error occurs in the context, the new file is deleted and the old one stays as it is. So it
    does if the process is killed; the next one that writes to the folder deletes the new file.

    Parameters
    ----------
    path : str | pathlib.Path
        File to write.

    Yields
    ------
    new : pathlib.Path
        Where to write in the meantime: in the same folder, with the same suffix.

    Raises
    ------
    OSError
        If it cannot be written, for instance to a full disk; the error names `path`.

    Examples
    --------
    >>> from subdistill.files import replacing
    >>> with replacing("log.csv") as new:  # doctest: +SKIP
    ...     new.write_text("epoch,loss")
    """
    path = Path(path)
    if path.is_symlink():  # the file that the link leads to is replaced, not the link
        path = path.resolve()
    with _writing(path.parent):
        new = path.with_name(f"{_UNFINISHED}{uuid4().hex}{path.suffix}")
        try:
            yield new
            _to_disk(new)
            os.replace(new, path)
            _to_disk(path.parent)
        except OSError as error:
            if error.errno is None or error.filename not in (None, str(new)):
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            new.unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell other processes that this one writes to a folder; delete what killed ones have left.

    The lock is that of the folder itself, and ends with the process. Where there are no such locks
    (Windows, some network drives) nothing is deleted.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # another process writes
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in folder.glob(f"{_UNFINISHED}*"):
                left.unlink(missing_ok=True)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def _to_disk(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk, where a system offers that."""
    with suppress(PermissionError, IsADirectoryError):  # folders on Windows
        number = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(number)
        finally:
            os.close(number)


def check_new(path: str | Path, overwrite: bool) -> None:
    """Raise if a file may not be written.

    Parameters
    ----------
    path : str | pathlib.Path
        The file.
    overwrite : bool
        Whether it may replace one that exists.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: choose another name.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists: pass overwrite=True to replace it, or another name.")
    if os.path.lexists(path) and not path.is_file():
        raise FileExistsError(f"{path} is no ordinary file: choose another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist: make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: choose another folder.")


def check_run(folder: Path, first: str, others: Iterable[str]) -> None:
    """Make the folder of a run, and raise unless the run can write its files there.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    first : str
        Name of the file that a run writes before all others.
    others : iterable of str
        Names of the other files. Where there is no first file, they are not those of a run.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: pass a folder for the run.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"The folder {folder} cannot be made ({error}): pass another.") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written: pass another folder for the run.")
    theirs = [name for name in others if os.path.lexists(folder / name)]
    if theirs and not os.path.lexists(folder / first):
        raise FileExistsError(
            f"{folder / theirs[0]} exists and belongs to no run, as {first} is missing: "
            "pass another folder for the run."
        )


# %% Reading


def check_file(path: str | Path, what: str) -> Path:
    """Raise unless there is an ordinary file.

    Parameters
    ----------
    path : str | pathlib.Path
        The file.
    what : str
        What it should hold, for the error.

    Returns
    -------
    path : pathlib.Path
        The same path.
    """
    path = Path(path)
    try:
        if path.is_file():
            return path
        there = os.path.lexists(path)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise FileNotFoundError(f"There is no file {path} ({error}): pass {what}.") from error
    if there:
        raise ValueError(f"{path} is no ordinary file: pass {what}.")
    raise FileNotFoundError(f"There is no file {path}: pass {what}.")


def read_text(path: str | Path, what: str) -> str:
    """Read a short text.

    Parameters
    ----------
    path : str | pathlib.Path
        The file.
    what : str
        What it should hold, for the error.

    Returns
    -------
    text : str
        The text.
    """
    path = check_file(path, what)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} has more than {_LARGEST:,} bytes: pass {what}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}): pass {what}.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, with a checksum that :func:`read_tensors` compares.

    Parameters
    ----------
    path : pathlib.Path
        The file (.safetensors).
    tensors : dict of Tensor
        The tensors.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
    path.write_bytes(save(tensors, metadata={"sha256": digest(tensors)}))


def write_object(save: Callable[[object, IO[bytes]], None], content: object, path: Path) -> None:
    """Write by a function of torch, which itself would end the process where the disk is full.

    Parameters
    ----------
    save : callable
        Function of content and file, such as ``torch.save``.
    content : object
        What it writes.
    path : pathlib.Path
        The file.
    """
    file = BytesIO()
    save(content, file)
    path.write_bytes(file.getbuffer())


def read_tensors(path: str | Path, what: str) -> dict[str, Tensor]:
    """Read tensors from a file of safetensors, and compare the checksum if it has one.

    Parameters
    ----------
    path : str | pathlib.Path
        The file (.safetensors).
    what : str
        What it should hold, for the error.

    Returns
    -------
    tensors : dict of Tensor
        The tensors.
    """
    from safetensors import safe_open

    path = check_file(path, what)
    try:
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path} is damaged, or no file of safetensors ({error}).") from error
    if told and told != digest(tensors):
        raise ValueError(f"{path} is damaged: its checksum differs. Write it again.")
    return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 checksum of tensors with their names, types and shapes.

    Parameters
    ----------
    tensors : dict of Tensor
        The tensors.

    Returns
    -------
    checksum : str
        Hexadecimal digits.
    """
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def read_checkpoint(path: str | Path, what: str) -> object:
    """Read what ``torch.save`` wrote, if it holds nothing but tensors, numbers, texts and lists.

    Parameters
    ----------
    path : str | pathlib.Path
        The file.
    what : str
        What it should hold, for the error.

    Returns
    -------
    content : object
        What the file holds.
    """
    import torch

    path = check_file(path, what)
    try:
        if zipfile.is_zipfile(path):  # torch itself compares no checksums
            with zipfile.ZipFile(path) as archive:
                packed = any(part.compress_type for part in archive.infolist())
                if packed or archive.testzip():
                    raise ValueError("The file is not as torch.save wrote it.")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors, numbers and texts; nothing in it was "
            f"run. Pass {what}."
        ) from error
