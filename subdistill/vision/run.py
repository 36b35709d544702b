"""Distillation of a classifier of images, from a configuration to files."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Subset

from subdistill.data import device_of
from subdistill.engine import distill
from subdistill.evaluate import accuracy
from subdistill.export import export_student
from subdistill.subtask import select_classes, split
from subdistill.training import Recipe
from subdistill.vision.classes import class_names, find_classes
from subdistill.vision.images import image_transform, load_images
from subdistill.vision.models import load_model


@dataclass(frozen=True)
class Config:
    """What to distill, as it stands in a YAML file.

    Attributes
    ----------
    teacher, student : str
        Names for :func:`subdistill.vision.models.load_model`.
    data : str
        Images, for :func:`subdistill.vision.images.load_images`, whose classes are the teacher's.
    teacher_weights, student_weights : str | None
        As for :func:`subdistill.vision.models.load_model`.
    root : str
        Where data sets of torchvision lie.
    classes : list | None
        The subtask, for :func:`subdistill.vision.classes.find_classes`; None for all classes.
    fraction : float
        Share of the training images to use.
    validation : float
        Share of these that the best epoch is chosen on.
    size : int
        Height and width of the images.
    batch_size, workers : int
        Images of a batch, and processes that load them.
    layers : dict | None
        As for :func:`subdistill.distill`.
    objective, subspace, context : str
        As for :func:`subdistill.distill`.
    precision : str
        Of Lightning Fabric, such as "bf16-mixed".
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


def read_config(path: Path | None, options: list[str]) -> Config:
    """Read a configuration.

    Parameters
    ----------
    path : pathlib.Path | None
        YAML file.
    options : list of str
        Entries ``NAME=VALUE`` that come on top, the values in YAML; ``recipe.NAME`` for those
        of the recipe.

    Returns
    -------
    config : Config
        The configuration.
    """
    import yaml

    entries = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path else {}
    for option in options:
        name, sign, value = option.partition("=")
        if not sign:
            raise ValueError(f"--set takes NAME=VALUE, got {option!r}.")
        first, dot, second = name.partition(".")
        if dot:
            entries.setdefault(first, {})[second] = yaml.safe_load(value)
        else:
            entries[name] = yaml.safe_load(value)
    names = [f.name for f in fields(Config)]
    unknown = sorted(set(entries).difference(names))
    if unknown:
        raise ValueError(f"There is no entry {unknown[0]!r}; there are {', '.join(names)}.")
    missing = [name for name in ("teacher", "student", "data") if name not in entries]
    if missing:
        raise ValueError(f"{missing[0]} is missing: pass --set {missing[0]}=..., or --config.")
    return Config(**entries)


def run(config: Config, folder: Path) -> dict[str, float | str]:
    """Distill, test, and write the student.

    Parameters
    ----------
    config : Config
        What to do.
    folder : pathlib.Path
        For the training, which resumes there, and the student (``student.safetensors``).

    Returns
    -------
    found : dict
        Accuracies of teacher and student on the test images of the subtask, and the file.
    """
    recipe = Recipe(**config.recipe)
    plain, augmented = (image_transform(config.size, train=flag) for flag in (False, True))
    train = load_images(config.data, root=config.root, transform=augmented)
    calm = load_images(config.data, root=config.root, transform=plain)
    test = load_images(config.data, train=False, root=config.root, transform=plain)
    classes = find_classes(class_names(train), config.classes or range(len(train.classes)))
    subtask = select_classes(train, classes)
    chosen, _ = split(subtask, config.fraction, seed=recipe.seed)
    held_out, kept = split(chosen, config.validation, seed=recipe.seed)
    calm = select_classes(calm, classes)
    held_out = Subset(calm, [chosen.indices[n] for n in held_out.indices])

    def load(data, shuffle=False):
        return DataLoader(data, config.batch_size, shuffle, num_workers=config.workers)

    teacher = load_model(config.teacher, weights=config.teacher_weights)
    torch.manual_seed(recipe.seed)
    student = load_model(config.student, n_classes=len(classes), weights=config.student_weights)
    found = distill(
        teacher, student, load(kept, shuffle=True), layers=config.layers,
        objective=config.objective, subspace=config.subspace, context=config.context,
        classes=classes, validation=load(held_out), recipe=recipe, folder=folder,
        fabric=Fabric(devices=1, precision=config.precision),
    )  # fmt: skip
    test = load(select_classes(test, classes))
    path = folder / "student.safetensors"
    export_student(student, path, next(iter(test))[0].to(device_of(student)))
    return {
        "accuracy of the teacher": accuracy(teacher, test, classes),
        "accuracy of the student": accuracy(student, test),
        "best epoch": found.best_epoch,
        "student": str(path),
    }
