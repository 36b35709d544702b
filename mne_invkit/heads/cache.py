"""What is computed once and kept in the cache: whole, undamaged, or computed again."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mne.utils import logger

from mne_invkit._files import write_whole

_CHECKSUMS = "checksums.json"


def cache_folder() -> Path:
    """Folder of the cache: ``MNE_INVKIT_CACHE``, or else that of the system.

    Returns
    -------
    folder : pathlib.Path
        The folder, which may not exist yet.
    """
    import pooch

    named = os.environ.get("MNE_INVKIT_CACHE")
    return Path(named).expanduser() if named else pooch.os_cache("mne-invkit")


def cached(folder: str | Path, build: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, filled by ``build(folder)`` the first time.

    A folder whose files are damaged or missing is built again. Two processes that build at once
    both succeed, and neither sees a half-written file.

    Parameters
    ----------
    folder : path-like
        The folder, in the cache.
    build : callable
        Function that writes the files into a new folder.

    Returns
    -------
    folder : pathlib.Path
        The same folder.
    """
    folder = Path(folder)
    if _is_whole(folder):
        return folder
    if os.path.lexists(folder):
        logger.warning("%s in the cache is damaged: it is made again.", folder)
    try:
        with write_whole(folder) as made:
            made.mkdir()
            build(made)
            sums = {path.relative_to(made).as_posix(): _checksum(path) for path in _files(made)}
            (made / _CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")
            if not _is_whole(folder):  # nobody has mended it meanwhile
                with suppress(FileNotFoundError):
                    os.rename(folder, made.with_name("damaged"))
    except OSError as error:
        raise type(error)(
            f"The cache {folder.parent} cannot be written ({error}): set the environment variable "
            "MNE_INVKIT_CACHE to a folder of yours."
        ) from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Tell whether all files of a folder are there as they were written."""
    try:
        sums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(_checksum(folder / name) == sums[name] for name in sums)
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _checksum(path: Path) -> int:
    """Compute the CRC-32 checksum of a file, which tells damage within a few ms."""
    if not path.is_file():
        raise FileNotFoundError(path)
    found = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found = zlib.crc32(part, found)
    return found
