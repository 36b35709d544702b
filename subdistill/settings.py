"""Settings by their names: of the right types, and the same when a run is resumed."""

from __future__ import annotations

import json
import math
import numbers
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

from subdistill.files import read_text, replacing

Settings = TypeVar("Settings")

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "entries NAME: VALUE",
    types.NoneType: "null",
}
_NUMBERS = {int: numbers.Integral, float: numbers.Real}  # those of NumPy, too


# %% Types


def make_settings(
    kind: type[Settings], entries: Mapping[str, object], prefix: str = ""
) -> Settings:
    """Make settings from entries that a user wrote.

    Parameters
    ----------
    kind : type
        A dataclass.
    entries : dict
        Its fields by name. Those that are missing take their defaults.
    prefix : str
        What stands before the names, such as "recipe.".

    Returns
    -------
    settings : object
        The settings.
    """
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    missing = [name for name in needed if name not in entries]
    check_types(kind, entries, prefix)
    if missing:
        raise ValueError(f"{missing[0]} is missing: pass --set {missing[0]}=..., or --config.")
    return kind(**entries)


def check_types(kind: type, entries: Mapping[str, object], prefix: str = "") -> None:
    """Raise unless there are such fields, the entries have their types, and numbers are finite.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are numbers, texts, lists, dictionaries or None.
    entries : dict
        Fields by name.
    prefix : str
        What stands before the names in the error.
    """
    hints = get_type_hints(kind)
    unknown = [str(name) for name in entries if name not in hints]
    if unknown:
        raise ValueError(
            f"There is no entry {prefix + unknown[0]!r}: pass one of "
            f"{', '.join(prefix + name for name in hints)}."
        )
    for name, value in entries.items():
        kinds = get_args(hints[name]) or (hints[name],)
        taken = tuple(_NUMBERS.get(k, k) for k in kinds)
        finite = not isinstance(value, numbers.Real) or math.isfinite(value)
        if isinstance(value, bool) or not isinstance(value, taken) or not finite:
            words = " or ".join(_WORDS[k] for k in kinds)
            raise TypeError(f"{prefix}{name} must be {words}, got {_short(repr(value))}.")


def _short(text: str) -> str:
    return text if len(text) < 60 else f"{text[:57]}..."


# %% Runs


def keep_settings(path: Path, settings: Mapping, *, resumed: bool) -> dict:
    """Write what a run is of into its folder, or check that the run there is of the same.

    Parameters
    ----------
    path : pathlib.Path
        The file (.json).
    settings : dict
        Values that JSON has, or numbers.
    resumed : bool
        Whether the folder holds a run that would be resumed.

    Returns
    -------
    settings : dict
        The settings as they are read from the file.
    """
    text = json.dumps(settings, indent=1, default=float)
    settings = json.loads(text)
    if resumed:
        what = "another folder, or a copy of the file from before"
        try:
            before = json.loads(read_text(path, what))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged ({error}): pass {what}.") from error
        check_same(before, settings, path.parent)
    else:
        with replacing(path) as new:
            new.write_text(text, encoding="utf-8")
    return settings


def check_same(before: object, now: Mapping, folder: Path) -> None:
    """Raise if a folder holds a run of something else.

    Parameters
    ----------
    before, now : dict
        Settings of the run in the folder, and those that are wanted.
    folder : pathlib.Path
        The folder, for the error.
    """
    if not isinstance(before, dict):
        raise ValueError(f"{folder} holds a damaged training: pass another folder.")
    other = [
        f"{name} was {_short(str(before.get(name)))}, is {_short(str(now.get(name)))}"
        for name in dict.fromkeys((*now, *before))
        if before.get(name) != now.get(name)
    ]
    if other:
        raise ValueError(
            f"{folder} holds a training of another configuration ({'; '.join(other)}): "
            "pass another folder, or the same arguments as before to resume it."
        )
