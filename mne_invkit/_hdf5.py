"""Plain nested data in HDF5 files: reading executes nothing, and finds every changed byte.

A file starts with one line of text that names the format, the kind of the contents, the size and
the SHA-256 checksum of what follows. That is an HDF5 file (HDF5 calls the first bytes its user
block). Its data set ``structure`` is JSON text, which refers by name to the others: the arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from mne_invkit._files import write_bytes

FORMAT = 2
"""Number of the format that is written. It changes when older versions could not read it."""

_ROOM = 512  # bytes before the HDF5 data
_START = re.compile(rb"mne-invkit file of format (\d{1,9}): ")
_HEADER = re.compile(_START.pattern + rb"([\w .-]+), (\d{1,18}) bytes, sha256 ([0-9a-f]{64})\n *")
_STRUCTURE = "structure"


def write_plain(path: str | Path, kind: str, contents: dict) -> None:
    """Write nested data whole or not at all.

    The file is made in memory: the HDF5 library crashes the process where a disk is full.

    Parameters
    ----------
    path : path-like
        The file. One there is replaced.
    kind : str
        What the contents are, such as ``"kronbayes"``.
    contents : dict
        Dicts, lists, tuples, strings, bytes, numbers, None, and arrays of numbers.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_encode(contents, "", arrays))
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=_ROOM) as file:
        file.create_dataset(_STRUCTURE, data=np.bytes_(structure))
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    made = memory.getbuffer()
    checksum = hashlib.sha256(made[_ROOM:]).hexdigest()
    header = f"mne-invkit file of format {FORMAT}: {kind}, {len(made)} bytes, sha256 {checksum}\n"
    made[:_ROOM] = header.encode().ljust(_ROOM)
    if not _HEADER.fullmatch(made[:_ROOM]):
        raise ValueError(f"The kind of a file must be a few letters, got {kind!r}.")
    write_bytes(path, made)


def read_plain(path: str | Path) -> tuple[str, dict]:
    """Read what :func:`write_plain` wrote.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    kind : str
        What the contents are.
    contents : dict
        The contents.

    Raises
    ------
    ValueError
        If the file is not one of ours, has changed, or is of a newer version.
    """
    path = check_is_file(path)
    with open(path, "rb") as opened:
        kind = _check_header(path, opened)
        try:
            with h5py.File(opened, "r") as file:
                return kind, _read_contents(file, os.fstat(opened.fileno()).st_size)
        except Exception as error:
            raise ValueError(f"{path} is not a file that mne-invkit wrote: {error}") from error


def check_is_file(path: str | Path) -> Path:
    """Return the path of a file that can be read, or raise.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    path : pathlib.Path
        The file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"The name of a file must be a path, got {type(path).__name__}.")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file, but a folder, a device or a pipe.")
    return path


def _check_header(path: Path, opened: BinaryIO) -> str:
    """Return the kind of a file whose size and checksum are those that its first line tells."""
    start = opened.read(_ROOM)
    if not start:
        raise ValueError(f"{path} is empty.")
    number = _START.match(start)
    if number is None:
        raise ValueError(f"{path} is not a file that mne-invkit wrote.")
    if int(number[1]) > FORMAT:
        raise ValueError(
            f"{path} was written by a newer version of mne-invkit (format {int(number[1])}, this "
            f"one reads {FORMAT}): update with pip install -U mne-invkit."
        )
    header = _HEADER.fullmatch(start)
    if (
        header is None
        or int(header[3]) != os.fstat(opened.fileno()).st_size
        or hashlib.file_digest(opened, "sha256").hexdigest().encode() != header[4]
    ):
        raise ValueError(
            f"{path} is damaged: its contents have another size or checksum than when it was "
            "written. Use another copy, or make it again."
        )
    opened.seek(0)
    return header[2].decode("ascii")


# %% To JSON and arrays


def _encode(value, name: str, arrays: dict[str, np.ndarray]):
    """Make JSON of a value; its arrays are added to `arrays`, by their names."""
    if isinstance(value, np.bool_ | np.integer | np.floating):
        value = value.item() if value.itemsize <= 8 else float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{name} cannot be stored: its keys must be strings.")
        items = value.items()
        return {"dict": {key: _encode(v, f"{name}.{key}", arrays) for key, v in items}}
    if isinstance(value, list | tuple):
        items = [_encode(v, f"{name}.{k}", arrays) for k, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, bytes):
        return {"bytes": _add(np.frombuffer(value, np.uint8), name, arrays)}
    if isinstance(value, np.ndarray) and is_numeric(value):
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            return {"transposed": _add(value.T, name, arrays)}
        return {"array": _add(value, name, arrays)}
    raise TypeError(f"{name} cannot be stored: it is a {type(value).__name__}.")


def is_numeric(array: np.ndarray) -> bool:
    """Tell whether an array is one of numbers, and so can be stored.

    Parameters
    ----------
    array : ndarray
        The array.

    Returns
    -------
    numeric : bool
        False for text, objects, records and times.
    """
    return array.dtype.kind in "biufc"


def _add(array: np.ndarray, name: str, arrays: dict[str, np.ndarray]) -> str:
    """Add an array under a name that no other has."""
    name = name.lstrip(".").replace("/", "_")
    while name in (*arrays, _STRUCTURE):
        name += "_"
    arrays[name] = array
    return name


def _read_contents(file: h5py.File, most: int):
    """Read a structure and its arrays, of at most so many bytes together."""
    left = [most]

    def take(name: str) -> np.ndarray:
        array = read_array(file, name, left[0])
        left[0] -= array.nbytes
        return array

    return _decode(json.loads(read_array(file, _STRUCTURE, most).item()), take)


def _decode(value, take: Callable[[str], np.ndarray]):
    """Make a value of its JSON; `take` returns the array of a name."""
    if isinstance(value, list):
        return [_decode(item, take) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    return _DECODERS[kind](inner, take)


_DECODERS: dict[str, Callable] = {
    "dict": lambda inner, take: {key: _decode(item, take) for key, item in inner.items()},
    "tuple": lambda inner, take: tuple(_decode(item, take) for item in inner),
    "bytes": lambda inner, take: take(inner).tobytes(),
    "array": lambda inner, take: take(inner),
    "transposed": lambda inner, take: take(inner).T,
}


def read_array(group: h5py.Group, name: str, most: int) -> np.ndarray:
    """Read an array that lies in the file itself, in one piece.

    Parameters
    ----------
    group : h5py.Group
        Where it is.
    name : str
        Its name.
    most : int
        Maximum number of bytes.

    Returns
    -------
    array : ndarray
        The array.
    """
    kind = group.get(name, getlink=True, getclass=True)
    if "/" in name or kind is not h5py.HardLink or not isinstance(group[name], h5py.Dataset):
        raise ValueError(f"{name!r} is not an array in this file")
    stored = group[name]
    n_bytes = stored.size * stored.dtype.itemsize
    properties = stored.id.get_create_plist()
    in_one_piece = properties.get_layout() == h5py.h5d.CONTIGUOUS and not stored.external
    if not in_one_piece or stored.id.get_storage_size() != n_bytes or n_bytes > most:
        raise ValueError(f"the array {name!r} is not stored in one piece")
    if stored.dtype.kind not in "biufcS":
        raise ValueError(f"the array {name!r} is not of numbers")
    return np.asarray(stored[()])
