"""The engine: a student learns from a teacher, on the data of a subtask."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from subdistill.adapter import align
from subdistill.capture import Capture
from subdistill.data import Classes, batches, choose
from subdistill.evaluate import accuracy
from subdistill.models import frozen, unwrap
from subdistill.moments import Scalar
from subdistill.objectives import LayerLoss, Objective, Pair, find_objective, kd_loss
from subdistill.pairing import pair_layers
from subdistill.subspace import Basis, Subspace, check_rank, fit_subspaces
from subdistill.training import Recipe, Training


@dataclass(frozen=True)
class Distilled:
    """What a distillation gives.

    Attributes
    ----------
    student : torch.nn.Module
        The student, with the weights of the best epoch, or of the last without validation.
    layers : dict of str
        The student's layer for each of the teacher's.
    subspaces : dict of Subspace
        For each of the teacher's layers, if the objective uses them.
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


def distill(
    teacher: nn.Module,
    student: nn.Module,
    data: DataLoader,
    *,
    layers: Mapping[str, str] | None = None,
    objective: str | LayerLoss = "subdistill",
    subspace: str | Basis | Mapping[str, Subspace] = "prca",
    context: str | Scalar | None = "margin",
    classes: Classes | None = None,
    output_loss: Callable[[Tensor, Tensor], Tensor] = kd_loss,
    validation: DataLoader | None = None,
    score: Callable[[nn.Module, DataLoader], float] = accuracy,
    recipe: Recipe | None = None,
    folder: str | Path | None = None,
    fabric: Fabric | None = None,
) -> Distilled:
    """Train a student to do what a teacher does, on the data of a subtask.

    Parameters
    ----------
    teacher : torch.nn.Module
        The teacher; as it was afterwards, but on the device of the training.
    student : torch.nn.Module
        The student, trained in place.
    data : torch.utils.data.DataLoader
        Batches of inputs, or of inputs and targets.
    layers : dict of str | None
        The student's layer for each of the teacher's; None to pair them by
        :func:`subdistill.pair_layers`. Maps of different sizes are averaged to the
        coarser one, see :func:`subdistill.adapter.align`.
    objective : str | callable
        Name in :data:`subdistill.objectives.OBJECTIVES`, or a function of a
        :class:`subdistill.Pair` that returns a module.
    subspace : str | callable | dict of Subspace
        Name in :data:`subdistill.subspace.SUBSPACES`, a function as these, or the subspace of
        each of the teacher's layers.
    context : str | callable | None
        Name in :data:`subdistill.moments.CONTEXTS`, or a function of output and targets that
        returns one number for each sample; None for subspaces that need none.
    classes : sequence of (int | sequence of int) | None
        Outputs of the teacher that the student's outputs stand for; None for all.
    output_loss : callable
        Function of the outputs of student and teacher that returns a scalar.
    validation : torch.utils.data.DataLoader | None
        Data on which the best epoch is chosen.
    score : callable
        Function of student and validation data whose largest value is best.
    recipe : Recipe | None
        How to train; None for the defaults.
    folder : str | pathlib.Path | None
        For the checkpoint of each epoch, the subspaces and ``log.csv``. A training that was
        stopped there goes on, on one processor to the same bits as without the stop, if order
        and augmentation of the data draw from torch's random numbers.
    fabric : lightning_fabric.Fabric | None
        Devices, precision and loggers, launched if there are several processes.

    Returns
    -------
    distilled : Distilled
        The student, and how it came about.

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
    for loader in (data, validation):
        if loader is not None and not isinstance(loader, DataLoader):
            raise TypeError(
                f"Data must come in a DataLoader, got {type(loader).__name__}: pass "
                "torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)."
            )
    recipe, fabric = recipe or Recipe(), fabric or Fabric(devices=1)
    make = find_objective(objective)
    teacher.to(fabric.device)
    student.to(fabric.device)
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), frozen(teacher):
        torch.manual_seed(recipe.seed)
        inputs, _ = next(batches(data, fabric.device))
        if make is None:
            layers = {}
        elif layers is None:
            layers = pair_layers(teacher, student, inputs)
        channels = _probe(teacher, student, layers, inputs, classes, output_loss is kd_loss)
        ranks = {}
        if getattr(make, "needs_subspace", False):
            ranks = _ranks(channels, recipe.rank)
            if not isinstance(subspace, Mapping):
                for name, rank in ranks.items():
                    check_rank(rank, channels[name][1], subspace)
        if folder is not None:
            folder = Path(folder)
            named = dict(
                objective=objective, subspace=subspace, context=context, output_loss=output_loss,
                teacher=teacher, student=student,
            )  # fmt: skip
            config = {name: _describe(value) for name, value in named.items()} | asdict(recipe)
            config |= dict(layers=dict(layers), classes=classes and list(classes))
            _keep_config(folder / "config.json", config)
        subspaces = {}
        if ranks and fabric.is_global_zero:
            subspaces = _find_subspaces(
                subspace, folder, teacher, data, ranks,
                context=context, classes=classes, seed=recipe.seed,
            )  # fmt: skip
        subspaces = fabric.broadcast(subspaces)
        pairs = {name: Pair(*both, subspaces.get(name)) for name, both in channels.items()}
        losses = Objective(pairs, make, weight=recipe.weight, output_loss=output_loss)
        training = Training(teacher, student, losses, dict(layers), classes, recipe, folder, fabric)
        training.run(data, validation, score)
    return Distilled(student, dict(layers), subspaces, training.history, training.best_epoch)


def _probe(
    teacher: nn.Module,
    student: nn.Module,
    layers: Mapping[str, str],
    inputs: Tensor,
    classes: Classes | None,
    same_outputs: bool,
) -> dict[str, tuple[int, int]]:
    """Channels of student and teacher in each pair, once it is known that they go together."""
    theirs, ours = Capture(teacher, layers), Capture(student, layers.values())
    with torch.no_grad(), frozen(student), theirs, ours:
        wanted, output = choose(teacher(inputs), classes), student(inputs)
        their_maps, our_maps = theirs.maps(), ours.maps()
    if same_outputs and output.shape != wanted.shape:
        raise ValueError(
            f"The student has outputs of shape {tuple(output.shape)}, the teacher of "
            f"{tuple(wanted.shape)}: pass classes=[...], the teacher's outputs that the student's "
            "stand for, or an output_loss of your own."
        )
    channels = {}
    for name, ours_name in layers.items():
        align(our_maps[ours_name], their_maps[name])
        channels[name] = our_maps[ours_name].shape[1], their_maps[name].shape[1]
    return channels


def _ranks(channels: Mapping[str, tuple[int, int]], rank: int | None) -> dict[str, int]:
    """Dimensions of the subspace of each pair."""
    for name, (n_student, n_teacher) in channels.items():
        if rank is not None and not 1 <= rank <= min(n_student, n_teacher):
            raise ValueError(
                f"A subspace of rank {rank} does not fit layer {name!r}: the teacher has "
                f"{n_teacher} channels there, the student {n_student}."
            )
    return {name: rank or min(both) for name, both in channels.items()}


def _find_subspaces(
    subspace: str | Basis | Mapping[str, Subspace],
    folder: Path | None,
    teacher: nn.Module,
    data: Iterable,
    ranks: Mapping[str, int],
    **options,
) -> dict[str, Subspace]:
    """Take the subspaces from the user, from an earlier run, or from the data."""
    if isinstance(subspace, Mapping):
        missing = [name for name in ranks if name not in subspace]
        if missing:
            raise ValueError(f"There is no subspace of {missing[0]!r}, only of {list(subspace)}.")
        return {name: subspace[name] for name in ranks}
    files = {name: folder / f"{name}.safetensors" for name in ranks} if folder else {}
    if files and all(path.exists() for path in files.values()):
        return {name: Subspace.load(path) for name, path in files.items()}
    found = fit_subspaces(teacher, data, ranks, subspace, **options)
    for name, path in files.items():
        found[name].save(path)
    return found


def _describe(value) -> str:
    """Name of something that has one, for a file."""
    if isinstance(value, nn.Module):
        n_parameters = sum(p.numel() for p in value.parameters())
        return f"{type(unwrap(value)).__name__} of {n_parameters} parameters"
    return value if isinstance(value, str) else getattr(value, "__qualname__", type(value).__name__)


def _keep_config(path: Path, config: Mapping) -> None:
    """Write what is to be done, or check that the folder belongs to the same."""
    text = json.dumps(config, indent=1)
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        now = json.loads(text)
        other = [f"{k} was {kept.get(k)}, is {now[k]}" for k in now if kept.get(k) != now[k]]
        if other:
            raise ValueError(
                f"{path.parent} holds a training of another configuration ({'; '.join(other)}): "
                "pass another folder, or what it was to resume it."
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
