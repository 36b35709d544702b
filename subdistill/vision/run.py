"""Distill an image classifier: from a configuration to the files of the student."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset, Subset

from subdistill.data import device_of
from subdistill.engine import SETTINGS, distill
from subdistill.evaluate import accuracy
from subdistill.export import export_student
from subdistill.files import check_run, digest
from subdistill.settings import keep_settings
from subdistill.subtask import labels_of, select_classes, split
from subdistill.training import CHECKPOINT, LOG, Recipe
from subdistill.vision.classes import class_names, find_classes
from subdistill.vision.config import Config
from subdistill.vision.images import image_transform, load_images
from subdistill.vision.models import load_model

JOB, STUDENT = "run.json", "student.safetensors"
_ELSEWHERE = ("data", "root", "workers", "recipe", "teacher_weights", "student_weights")
"""Entries whose contents are compared, here or by the engine, in the place of their names."""


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
    check_run(folder, JOB, (SETTINGS, CHECKPOINT, LOG, STUDENT))
    fabric = Fabric(devices=1, precision=config.precision)
    plain, augmented = (image_transform(config.size, train=flag) for flag in (False, True))
    train = load_images(config.data, root=config.root, transform=augmented)
    train_plain = load_images(config.data, root=config.root, transform=plain)
    test = load_images(config.data, train=False, root=config.root, transform=plain)
    every = range(len(train.classes))
    classes = find_classes(class_names(train), every if config.classes is None else config.classes)
    used, _ = split(select_classes(train, classes), config.fraction, seed=recipe.seed)
    held_out, kept = split(used, config.validation, seed=recipe.seed)
    if not len(kept):
        raise ValueError(
            f"No image is left to train on: of {len(used)}, all go to the validation. Raise "
            "fraction, lower validation, or add images."
        )
    held_out = Subset(
        select_classes(train_plain, classes), [used.indices[n] for n in held_out.indices]
    )

    def load(data, shuffle=False):
        return DataLoader(data, config.batch_size, shuffle, num_workers=config.workers)

    teacher = load_model(config.teacher, weights=config.teacher_weights)
    torch.manual_seed(recipe.seed)
    student = load_model(config.student, n_classes=len(classes), weights=config.student_weights)
    job = {name: value for name, value in asdict(config).items() if name not in _ELSEWHERE}
    job["images"] = _describe(train, test)
    job["weights of the student"] = config.student_weights and digest(student.state_dict())
    keep_settings(folder / JOB, job, resumed=os.path.lexists(folder / CHECKPOINT))
    found = distill(
        teacher, student, load(kept, shuffle=True), layers=config.layers,
        objective=config.objective, subspace=config.subspace, context=config.context,
        classes=classes, validation=load(held_out), recipe=recipe, folder=folder, fabric=fabric,
    )  # fmt: skip
    test = load(select_classes(test, classes))
    path = folder / STUDENT
    export_student(student, path, next(iter(test))[0].to(device_of(student)), overwrite=True)
    return {
        "accuracy of the teacher": accuracy(teacher, test, classes),
        "accuracy of the student": accuracy(student, test),
        "best epoch": found.best_epoch,
        "student": str(path),
    }


def _describe(*data: Dataset) -> str:
    """Describe images: their number, and a checksum of labels, names and sizes of the files."""
    found = hashlib.sha256()
    for part in data:
        found.update(labels_of(part).numpy().tobytes())
        for path, _ in getattr(part, "samples", ()):
            found.update(f"{Path(path).name} {os.path.getsize(path)} ".encode())
    numbers = " and ".join(str(len(part)) for part in data)
    return f"{numbers}, checksum {found.hexdigest()[:12]}"
