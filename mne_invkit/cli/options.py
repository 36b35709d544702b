"""Options of a solver in the words of a shell: NAME=VALUE."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable

from mne_invkit.solvers.registry import Solver

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""What stands for yes and no, in any case."""

_NONE = ("none", "null")
_KINDS = {
    "bool": "yes or no",
    "int": "a whole number",
    "float": "a number",
    "str": "a word",
    "dict": "a JSON object",
    "ndarray": "a JSON list of numbers",
    "None": "None",
}
"""What a user can type for each type of an annotation."""
_CONTAINERS = {dict: {"dict"}, list: {"ndarray", "list", "tuple"}}


def read_options(solver: Solver, texts: Iterable[str]) -> dict[str, object]:
    """Read options and check them, before anything else is read.

    Parameters
    ----------
    solver : Solver
        The solver.
    texts : iterable of str
        Entries ``NAME=VALUE``. The value is what the solver's annotation says: yes or no
        (:data:`WORDS`), None, a number, JSON, or a word.

    Returns
    -------
    options : dict
        Values by name.
    """
    parameters = inspect.signature(solver.fit).parameters.values()
    known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "verbose"}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    options, faults = {}, []
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            faults.append(f"--set takes NAME=VALUE, got {text!r}.")
        elif name not in known and not takes_any:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            faults.append(f"{solver.name} has no option {name}; {has}.")
        elif name in options:
            faults.append(f"{name} is set twice: pass it once.")
        else:
            try:
                options[name] = read_value(value, _kinds(known.get(name)))
            except (ValueError, OverflowError) as error:
                faults.append(f"{name} {error}")
    if faults:
        raise ValueError(" ".join(faults))
    if solver.check is not None:
        solver.check(**options)
    return options


def _kinds(parameter: inspect.Parameter | None) -> set[str]:
    """Types that an annotation names; none if there is no annotation."""
    if parameter is None or parameter.annotation is parameter.empty:
        return set()
    return set(re.findall(r"\w+", inspect.formatannotation(parameter.annotation)))


def read_value(text: str, kinds: set[str]) -> object:
    """Read one value.

    Parameters
    ----------
    text : str
        What the user typed.
    kinds : set of str
        Types that the value may have; any if empty.

    Returns
    -------
    value : object
        The value.
    """
    word = text.strip().lower()
    if word in WORDS and (not kinds or "bool" in kinds):
        return WORDS[word]
    if word in _NONE and (not kinds or "None" in kinds):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not kinds:
        return value
    if type(value) in (int, float):  # bool is an int, too
        if "bool" in kinds and value in (0, 1):
            return bool(value)
        if "int" in kinds and value == int(value if math.isfinite(value) else 0):
            return int(value)
        if "float" in kinds and math.isfinite(value):
            return float(value)
    if isinstance(value, dict | list) and kinds & _CONTAINERS[type(value)]:
        return value
    if kinds & {"str", "Path"} and word not in WORDS and word not in _NONE and word:
        return value if isinstance(value, str) else text
    known = [said for kind, said in _KINDS.items() if kind in kinds]
    raise ValueError(f"takes {' or '.join(known) or 'no value from the shell'}, got {text!r}.")
