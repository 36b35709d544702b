"""Files of models and runs, read without running anything that they hold."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

_LARGEST = 1_000_000  # bytes of a JSON file; cards and recipes have some 2,000


def check_file(path: Path, what: str) -> None:
    """Raise unless there is an ordinary file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    what : str
        What it should be, for the error.
    """
    if path.is_file():
        return
    if os.path.lexists(path):
        raise ValueError(f"{path} is no ordinary file: pass {what}.")
    raise FileNotFoundError(f"There is no file {path}: pass {what}.")


def read_json(path: Path, what: str) -> dict:
    """Read the entries of a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    what : str
        What it should be, for the error.

    Returns
    -------
    entries : dict
        The entries.
    """
    check_file(path, what)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} has more than {_LARGEST:,} bytes: pass {what}.")
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or no JSON ({error}): pass {what}.") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} holds no entries: pass {what}.")
    return entries


def _once(pairs: list[tuple[str, object]]) -> dict:
    """Make a dictionary of entries that stand there once each."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("an entry stands there twice")
    return entries


def read_checkpoint(path: Path) -> dict:
    """Read the checkpoint of a training, which holds tensors, numbers and texts alone.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    state : dict
        What the training kept.
    """
    import torch

    what = "the folder of a run, with a checkpoint that train-piunet wrote"
    check_file(path, what)
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself compares no checksums
            packed = any(part.compress_type for part in archive.infolist())
            if packed or archive.testzip():
                raise ValueError("The file is not as torch.save wrote it.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError("There are no entries.")
    except Exception as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of a training; nothing in it was run. Pass "
            f"{what}, or delete the file to begin again."
        ) from error
    return state


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
    check_writable(folder)
    theirs = [name for name in others if os.path.lexists(folder / name)]
    if theirs and not os.path.lexists(folder / first):
        raise FileExistsError(
            f"{folder / theirs[0]} exists and belongs to no run, as {first} is missing: "
            "pass another folder for the run."
        )


def check_writable(folder: Path) -> None:
    """Make a folder, and raise unless files can be written to it.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"The folder {folder} cannot be made ({error}): pass another.") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder} cannot be written: pass another.")
