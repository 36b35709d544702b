"""The engine: train a student to imitate a teacher on the data of a subtask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from subdistill._docs import fill_doc
from subdistill.adapter import align
from subdistill.capture import Probe, probe
from subdistill.data import batches, check_epochs
from subdistill.evaluate import accuracy
from subdistill.files import check_run, digest
from subdistill.models import frozen, unwrap
from subdistill.moments import Scalar
from subdistill.objectives import LayerLoss, Objective, Pair, find_objective, kd_loss
from subdistill.pairing import match_layers
from subdistill.settings import keep_settings
from subdistill.subspace import Basis, Subspace, check_rank, fit_subspaces
from subdistill.subtask import Classes, choose
from subdistill.training import CHECKPOINT, LOG, Recipe, Score, Training

SETTINGS = "config.json"


@fill_doc
@dataclass(frozen=True)
class Distilled:
    """Result of a distillation.

    Attributes
    ----------
    student : torch.nn.Module
        The student with the weights of the best epoch, or of the last epoch without validation.
    %(layer_names)s
    subspaces : dict of Subspace
        Subspace of each of the teacher's layers, if the objective uses subspaces.
    history : list of dict
        Losses, learning rate and score of each epoch.
    best_epoch : int
        Epoch of the weights, from 0.
    """

    student: nn.Module
    layers: dict[str, str]
    subspaces: dict[str, Subspace]
    history: list[dict[str, float]]
    best_epoch: int


@fill_doc
def distill(
    teacher: nn.Module,
    student: nn.Module,
    data: Iterable,
    *,
    layers: Mapping[str, str] | None = None,
    objective: str | LayerLoss = "subdistill",
    subspace: str | Basis | Mapping[str, Subspace] = "prca",
    context: str | Scalar | None = "margin",
    classes: Classes | None = None,
    output_loss: Callable[[Tensor, Tensor], Tensor] = kd_loss,
    validation: object | None = None,
    score: Score = accuracy,
    recipe: Recipe | None = None,
    folder: str | Path | None = None,
    fabric: Fabric | None = None,
) -> Distilled:
    """Train a student to imitate a teacher on the data of a subtask.

    Teacher and student are called with the same inputs. The data must give its batches anew each
    time that it is iterated over; this is an epoch. Simulated data, for example, is an object
    whose method ``__iter__`` yields a number of new batches.

    Parameters
    ----------
    teacher : torch.nn.Module
        The teacher. Its mode and parameters are restored afterwards, but it stays on the device
        of the training.
    student : torch.nn.Module
        The student, which is trained in place.
    %(data)s
    layers : dict of str | None
        Name of the student's layer for the name of each of the teacher's layers. None to pair
        them by :func:`subdistill.pair_layers`. If maps differ in size, the finer one is averaged,
        see :func:`subdistill.adapter.align`.
    objective : str | callable
        Name in :data:`subdistill.objectives.OBJECTIVES`, or a function of a
        :class:`subdistill.Pair` that returns a module.
    subspace : str | callable | dict of Subspace
        Name in :data:`subdistill.subspace.SUBSPACES`, a function of moments and generator that
        returns spectrum and basis, or the subspace of each of the teacher's layers.
    %(context)s
    %(classes)s
    %(output_loss)s
    validation : object | None
        Data on which the best epoch is chosen, of any form that `score` takes. None to keep the
        last epoch.
    score : callable
        Function of the student and the validation data that returns a number. The epoch with the
        largest number is best.
    recipe : Recipe | None
        Settings of the training. None for the defaults.
    folder : str | pathlib.Path | None
        Folder of the checkpoint, the subspaces and ``log.csv``. A training that was stopped is
        resumed from there; one of other settings, models or data is refused. On one processor the
        result has the same bits as without the stop, if the data draws its order, augmentation or
        simulation from torch's random numbers.
    fabric : lightning_fabric.Fabric | None
        Devices, precision and loggers. It must be launched if there are several processes, and
        the data must then be a DataLoader.

    Returns
    -------
    distilled : Distilled
        The student, its pairs of layers, their subspaces, and the history of the training.

    References
    ----------
    Chormai et al. (2026), arXiv:2601.05913.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from subdistill import Recipe, distill
    >>> teacher, student = (
    ...     nn.Sequential(nn.Conv1d(2, n, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * n, 3))
    ...     for n in (8, 4)
    ... )
    >>> data = DataLoader(TensorDataset(torch.randn(64, 2, 8)), batch_size=16)
    >>> found = distill(teacher, student, data, layers={"1": "1"}, recipe=Recipe(epochs=2))
    >>> list(found.history[-1])
    ['epoch', 'learning_rate', 'loss', 'output', 'layers/1']
    """
    recipe, fabric = recipe or Recipe(), fabric or Fabric(devices=1)
    _check_data(data, validation, score, fabric)
    make = find_objective(objective)
    teacher.to(fabric.device)
    student.to(fabric.device)
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), frozen(teacher):
        torch.manual_seed(recipe.seed)
        inputs, _ = next(batches(data, fabric.device))
        theirs, ours = probe(teacher, inputs), probe(student, inputs)
        _check_outputs(theirs, ours, classes, same=output_loss is kd_loss)
        if make is None:
            layers = {}
        elif layers is None:
            layers = match_layers(theirs, ours)
        pairs = _pairs(theirs, ours, layers)
        ranks = {}
        if getattr(make, "needs_subspace", False):
            ranks = _ranks(pairs, recipe.rank, subspace)
        settings = {}
        if folder is not None:
            folder = Path(folder)
            files = [f"{name}.safetensors" for name in ranks]
            check_run(folder, SETTINGS, (CHECKPOINT, LOG, *files))
            named = dict(
                objective=objective, subspace=subspace, context=context, output_loss=output_loss,
                teacher=teacher, student=student, data=data, validation=validation,
            )  # fmt: skip
            settings = {name: _describe(value) for name, value in named.items()} | asdict(recipe)
            settings |= dict(layers=dict(layers), classes=_plain(classes))
            settings["weights of the teacher"] = digest(unwrap(teacher).state_dict())
            resumed = os.path.lexists(folder / CHECKPOINT)
            settings = keep_settings(folder / SETTINGS, settings, resumed=resumed)
        subspaces = {}
        if ranks and fabric.is_global_zero:
            subspaces = _find_subspaces(
                subspace, folder, teacher, data, ranks,
                context=context, classes=classes, seed=recipe.seed,
            )  # fmt: skip
        subspaces = fabric.broadcast(subspaces)
        pairs = {name: replace(pair, subspace=subspaces.get(name)) for name, pair in pairs.items()}
        losses = Objective(pairs, make, weight=recipe.weight, output_loss=output_loss)
        training = Training(
            teacher, student, losses, dict(layers), classes, recipe, folder, settings, fabric
        )
        training.run(data, validation, score)
    return Distilled(student, dict(layers), subspaces, training.history, training.best_epoch)


def _check_data(data: Iterable, validation: object | None, score: Score, fabric: Fabric) -> None:
    """Raise if the data cannot be trained on for several epochs, by all processes."""
    check_epochs(data)
    if validation is not None and score is accuracy:
        check_epochs(validation)
    if fabric.world_size > 1 and not isinstance(data, DataLoader):
        raise TypeError(
            f"Only a DataLoader can share its batches among {fabric.world_size} processes, got "
            f"{type(data).__name__}: pass a DataLoader, or train with Fabric(devices=1)."
        )


def _check_outputs(theirs: Probe, ours: Probe, classes: Classes | None, same: bool) -> None:
    """Raise if the teacher lacks a class, or if the outputs must have the same shape but do not."""
    found, wanted = ours.output.shape, choose(theirs.output, classes).shape
    if same and found != wanted:
        raise ValueError(
            f"The student has outputs of shape {tuple(found)}, the teacher of {tuple(wanted)}: "
            "pass classes=[...], the teacher's outputs that belong to the subtask, or an "
            "output_loss of your own."
        )


def _pairs(theirs: Probe, ours: Probe, layers: Mapping[str, str]) -> dict[str, Pair]:
    """Return the pairs of layers, after a check that their maps can be aligned."""
    pairs = {}
    for name, name_of_ours in layers.items():
        teacher, student = theirs[name], ours[name_of_ours]
        align(*(torch.empty(layer.shape, device="meta") for layer in (student, teacher)))
        pairs[name] = Pair(student.n_channels, teacher.n_channels)
    return pairs


def _ranks(
    pairs: Mapping[str, Pair], rank: int | None, subspace: str | Basis | Mapping[str, Subspace]
) -> dict[str, int]:
    """Return the rank of each pair's subspace, after a check that it is possible."""
    ranks = {}
    for name, pair in pairs.items():
        most = min(pair.n_student, pair.n_teacher)
        if rank is not None and not 1 <= rank <= most:
            raise ValueError(
                f"A subspace of rank {rank} does not fit layer {name!r}, where the teacher has "
                f"{pair.n_teacher} channels and the student {pair.n_student}: pass "
                f"Recipe(rank=...) from 1 to {most}, or None."
            )
        ranks[name] = rank or most
        if not isinstance(subspace, Mapping):
            check_rank(ranks[name], pair.n_teacher, subspace)
    return ranks


def _find_subspaces(
    subspace: str | Basis | Mapping[str, Subspace],
    folder: Path | None,
    teacher: nn.Module,
    data: Iterable,
    ranks: Mapping[str, int],
    **options,
) -> dict[str, Subspace]:
    """Take the subspaces from the user, from the folder of an earlier run, or from the data."""
    if isinstance(subspace, Mapping):
        missing = [name for name in ranks if name not in subspace]
        if missing:
            raise ValueError(
                f"There is no subspace of {missing[0]!r}, only of {list(subspace)}: pass one for "
                "each of the teacher's layers."
            )
        return {name: subspace[name] for name in ranks}
    files = {name: folder / f"{name}.safetensors" for name in ranks} if folder else {}
    # A run without a checkpoint begins again, so that all random numbers are drawn as before.
    if files and (folder / CHECKPOINT).exists():
        return {name: _load_subspace(path) for name, path in files.items()}
    found = fit_subspaces(teacher, data, ranks, subspace, **options)
    for name, path in files.items():
        found[name].save(path, overwrite=True)
    return found


def _load_subspace(path: Path) -> Subspace:
    """Read a subspace of the run that is resumed."""
    try:
        return Subspace.load(path)
    except (OSError, ValueError) as error:
        raise type(error)(
            f"{error} The checkpoint beside it needs this subspace: restore it from a copy, or "
            f"delete {path.with_name(CHECKPOINT)} to begin again."
        ) from error


def _describe(value) -> str | None:
    """Describe an argument in the file of the settings."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, nn.Module):
        n_parameters = sum(p.numel() for p in value.parameters())
        return f"{type(unwrap(value)).__name__} of {n_parameters} parameters"
    if isinstance(value, DataLoader):
        number = len(value.dataset) if isinstance(value.dataset, Sized) else "new"
        return f"{number} samples in batches of {value.batch_size}"
    return getattr(value, "__qualname__", type(value).__name__)


def _plain(classes: Classes | None) -> list[int | list[int]] | None:
    """Return classes as lists of Python's own numbers."""
    if classes is None:
        return None
    return [list(map(int, c)) if isinstance(c, Iterable) else int(c) for c in classes]
