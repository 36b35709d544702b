"""Distill an image classifier: from a configuration to the files of the student."""

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
        raise ValueError(f"There is no entry {unknown[0]!r}: pass one of {', '.join(names)}.")
    missing = [name for name in ("teacher", "student", "data") if name not in entries]
    if missing:
        raise ValueError(f"{missing[0]} is missing: pass --set {missing[0]}=..., or --config.")
    return Config(**entries)


def run(config: Config, folder: Path) -> dict[str, float | str]:
    """Distill a student, test it, and write it to a file.

    Parameters
    ----------
    config : Config
        The configuration.
    folder : pathlib.Path
        Folder of the training, which is resumed if it was stopped, and of the student
        (``student.safetensors``).

    Returns
    -------
    found : dict
        Accuracies of teacher and student on the test images of the subtask, the best epoch, and
        the file of the student.
    """
    recipe = Recipe(**config.recipe)
    plain, augmented = (image_transform(config.size, train=flag) for flag in (False, True))
    train = load_images(config.data, root=config.root, transform=augmented)
    train_plain = load_images(config.data, root=config.root, transform=plain)
    test = load_images(config.data, train=False, root=config.root, transform=plain)
    classes = find_classes(class_names(train), config.classes or range(len(train.classes)))
    used, _ = split(select_classes(train, classes), config.fraction, seed=recipe.seed)
    held_out, kept = split(used, config.validation, seed=recipe.seed)
    held_out = Subset(
        select_classes(train_plain, classes), [used.indices[n] for n in held_out.indices]
    )

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
