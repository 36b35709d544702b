"""The configuration of a distillation: entries of a YAML file and of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from subdistill.files import check_file, read_text
from subdistill.settings import check_types, make_settings
from subdistill.training import Recipe

_PLAIN = {
    "bool": r"(?i:true|false|yes|no|on|off)$",
    "null": r"(?i:null|none|~)$|$",
    "int": r"[-+]?(0|[1-9][0-9_]*)$",
    "float": r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$",
}
"""Patterns of values that are no text. YAML 1.1 alone takes 1e-3 for a text and 010 for 8."""
_WHAT = "a configuration (.yaml) with entries NAME: VALUE"


@dataclass(frozen=True)
class Config:
    """Configuration of a distillation, as in a YAML file.

    Attributes
    ----------
    teacher, student : str
        Names of the models, see :func:`subdistill.vision.models.load_model`.
    data : str
        Source of the images, see :func:`subdistill.vision.images.load_images`. The classes must be
        those of the teacher's outputs, in the same order.
    teacher_weights, student_weights : str | None
        Weights of the models, see :func:`subdistill.vision.models.load_model`.
    root : str
        Folder of torchvision's data sets.
    classes : list | None
        Classes of the subtask, see :func:`subdistill.vision.classes.find_classes`. None for all.
    fraction : float
        Fraction of the training images that is used.
    validation : float
        Fraction of the used images on which the best epoch is chosen.
    size : int
        Height and width of the images.
    batch_size, workers : int
        Number of images in a batch, and number of processes that load them.
    layers : dict | None
        Pairs of layers, see :func:`subdistill.distill`. None to pair them automatically.
    objective, subspace, context : str
        Names of objective, subspace and context, see :func:`subdistill.distill`.
    precision : str
        Precision of Lightning Fabric, such as "bf16-mixed".
    recipe : dict
        Fields of :class:`subdistill.Recipe`.
    """

    teacher: str
    student: str
    data: str
    teacher_weights: str | None = "pretrained"
    student_weights: str | None = None
    root: str = "data"
    classes: list | None = None
    fraction: float = 1.0
    validation: float = 0.1
    size: int = 224
    batch_size: int = 64
    workers: int = 0
    layers: dict | None = None
    objective: str = "subdistill"
    subspace: str = "prca"
    context: str = "margin"
    precision: str = "32-true"
    recipe: dict = field(default_factory=dict)

    def __post_init__(self):
        check_types(Config, vars(self))
        if min(self.size, self.batch_size) < 1 or self.workers < 0:
            raise ValueError("size and batch_size must be 1 or more, and workers 0 or more.")
        if not 0 < self.fraction <= 1 or not 0 < self.validation < 1:
            raise ValueError(
                "fraction must be above 0 and at most 1, and validation between 0 and 1, got "
                f"{self.fraction} and {self.validation}."
            )
        for name in ("teacher_weights", "student_weights"):
            weights = getattr(self, name)
            if weights not in (None, "pretrained"):
                check_file(weights, f"{name}=<file>, pretrained or null")
        make_settings(Recipe, self.recipe, "recipe.")


def read_config(path: Path | None, options: list[str]) -> Config:
    """Read a configuration.

    Parameters
    ----------
    path : pathlib.Path | None
        YAML file. None to read the options only.
    options : list of str
        Entries ``NAME=VALUE`` that replace those of the file, with values in YAML. The entries of
        the recipe are called ``recipe.NAME``.

    Returns
    -------
    config : Config
        The configuration.
    """
    entries = _read_file(path) if path else {}
    for option in options:
        name, sign, value = option.partition("=")
        if not sign or not name:
            raise ValueError(f"--set takes NAME=VALUE, got {option!r}.")
        first, dot, second = name.partition(".")
        value = _read_yaml(value, f"--set {name}")
        if not dot:
            entries[name] = value
        elif isinstance(part := entries.setdefault(first, {}), dict):
            part[second] = value
        else:
            raise ValueError(f"--set {name}: {first} has no entries of its own.")
    return make_settings(Config, entries)


def _read_file(path: Path) -> dict:
    """Read the entries of a file; errors about them name it."""
    entries = _read_yaml(read_text(path, _WHAT), str(path))
    if not isinstance(entries, dict | None):
        raise ValueError(f"{path} holds no entries: pass {_WHAT}.")
    entries = entries or {}
    try:
        check_types(Config, entries)
        check_types(Recipe, entries.get("recipe", {}), "recipe.")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    return entries


def _read_yaml(text: str, where: str) -> object:
    """Read the plain values of YAML; `where` names them in an error."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values only; no entry twice, and no references, which could be endless."""

        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("references (*) are not taken")
            return super().compose_node(parent, index)

        def construct_mapping(self, node, deep=False):
            found = super().construct_mapping(node, deep)
            if len(found) < len(node.value):
                raise yaml.YAMLError("an entry stands there twice")
            return found

    Loader.yaml_implicit_resolvers = {}
    for kind, pattern in _PLAIN.items():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), None)
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ValueError(f"{where}{place}: this is no YAML ({reason}).") from error
