"""The training loop: recipe, epochs, checkpoints and log."""

from __future__ import annotations

import csv
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from subdistill._docs import fill_doc
from subdistill.capture import Capture
from subdistill.data import Inputs, batches, call
from subdistill.files import read_checkpoint, replacing, write_object
from subdistill.models import unwrap
from subdistill.objectives import Objective
from subdistill.settings import check_same, check_types
from subdistill.subtask import Classes, check_labels, choose

Score = Callable[[nn.Module, object], float]
"""Function of a student and validation data; the largest number is best."""

CHECKPOINT, LOG = "checkpoint.ckpt", "log.csv"

SCHEDULES: dict[str, Callable[[int, int], float]] = dict(
    constant=lambda epoch, epochs: 1.0,
    halve=lambda epoch, epochs: 0.5 ** (epoch // 25),
    cosine=lambda epoch, epochs: 0.5 * (1 + math.cos(math.pi * epoch / epochs)),
)
"""Functions of the epoch and the number of epochs that return a factor of the learning rate."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes
    ----------
    epochs : int
        Number of passes over the data.
    weight : float
        Weight lambda of the layers' losses; the weight of the output's loss is 1.
    rank : int | None
        Number of dimensions of the subspaces. None for the number of channels of the student's or
        the teacher's layer, whichever is smaller.
    learning_rate, weight_decay : float
        Learning rate and weight decay of the optimizer, AdamW.
    schedule : str
        Name in :data:`subdistill.training.SCHEDULES`, how the learning rate changes.
    accumulate : int
        Number of batches whose gradients are added up for one step of the optimizer.
    clip : float | None
        Largest norm of the gradient. None for no limit.
    ema : float
        Decay of the running average of the weights. If it is not 0, the average is what is scored
        and kept.
    patience : int | None
        Number of epochs without a better score after which the training stops. None to go on.
    seed : int
        Seed of all random numbers of the training. The student's initial weights do not depend on
        it.
    """

    epochs: int = 100
    weight: float = 10.0
    rank: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: str = "halve"
    accumulate: int = 1
    clip: float | None = None
    ema: float = 0.0
    patience: int | None = None
    seed: int = 0

    def __post_init__(self):
        check_types(Recipe, vars(self))
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"There is no schedule {self.schedule!r}: pass one of {list(SCHEDULES)}."
            )
        if self.epochs < 1 or self.accumulate < 1:
            raise ValueError("A recipe needs at least one epoch, and one batch for each step.")
        if min(self.weight, self.learning_rate, self.weight_decay, self.clip or 0, self.seed) < 0:
            raise ValueError(
                "Weights, learning rate, clip and seed of a recipe cannot be negative."
            )
        if self.seed >= 2**63:
            raise ValueError(f"The seed of a recipe must be below 2**63, got {self.seed}.")
        if not 0 <= self.ema < 1:
            raise ValueError(
                f"The decay ema of a recipe must be from 0 to below 1, got {self.ema}."
            )


@fill_doc
class Step(nn.Module):
    """Student and objective in one module, so that parallel training sees all parameters.

    Parameters
    ----------
    student : torch.nn.Module
        The student.
    objective : Objective
        Losses of the student.
    %(layer_names)s
    captured : Capture
        Outputs of the student's layers; the context must be open when the module runs.
    """

    def __init__(
        self, student: nn.Module, objective: Objective, layers: Mapping[str, str], captured: Capture
    ):
        super().__init__()
        self.student, self.objective = student, objective
        self.layers, self.captured = layers, captured

    def forward(
        self, inputs: Inputs, wanted: Tensor, teacher_maps: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch, given the teacher's output and maps."""
        output, found = call(self.student, inputs), self.captured.maps()
        maps = {name: (found[self.layers[name]], teacher_maps[name]) for name in self.layers}
        return self.objective(output, wanted, maps)


@fill_doc
class Training:
    """A training that can stop after any epoch and be resumed.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        The frozen teacher and the student, on the same device.
    objective : Objective
        Losses of the student.
    %(layer_names)s
    %(classes)s
    recipe : Recipe
        Settings of the training.
    folder : pathlib.Path | None
        Folder of checkpoint and log. If it holds a checkpoint, the training is resumed.
    settings : dict
        What the training is of. A checkpoint keeps it, and that of another training is refused.
    fabric : lightning_fabric.Fabric
        Devices, precision and loggers.

    Attributes
    ----------
    history : list of dict
        Losses, learning rate and score of each epoch.
    best_epoch : int
        Epoch of the best weights, from 0.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        objective: Objective,
        layers: Mapping[str, str],
        classes: Classes | None,
        recipe: Recipe,
        folder: Path | None,
        settings: Mapping,
        fabric: Fabric,
    ):
        self._teacher, self._student, self._layers = teacher, student, layers
        self._classes, self._recipe = classes, recipe
        self._folder, self._settings, self._fabric = folder, settings, fabric
        self._student_maps = Capture(student, layers.values())
        self._teacher_maps = Capture(teacher, layers)
        step = Step(student, objective, layers, self._student_maps)
        optimizer = torch.optim.AdamW(
            step.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._step, self._optimizer = fabric.setup(step, optimizer)
        self._state = dict(
            step=self._step, optimizer=self._optimizer,
            epoch=0, history=[], best={}, best_epoch=-1, best_score=-math.inf,
        )  # fmt: skip
        self._scored = unwrap(student)
        if recipe.ema:
            decay = get_ema_multi_avg_fn(recipe.ema)
            self._state["average"] = AveragedModel(self._scored, multi_avg_fn=decay)
            self._scored = self._state["average"].module
        if folder and (folder / CHECKPOINT).exists():
            self._load(folder / CHECKPOINT)

    @property
    def history(self) -> list[dict[str, float]]:
        """Losses, learning rate and score of each epoch."""
        return self._state["history"]

    @property
    def best_epoch(self) -> int:
        """Epoch of the best weights, from 0."""
        return self._state["best_epoch"]

    def run(self, data: Iterable, validation: object | None, score: Score) -> None:
        """Train to the end, and load the best weights into the student.

        Parameters
        ----------
        data : iterable
            Batches to train on.
        validation : object | None
            Data on which the best epoch is chosen. None to keep the last epoch.
        score : callable
            Function of student and validation data that returns a number; the largest is best.
        """
        recipe, state, fabric = self._recipe, self._state, self._fabric
        if isinstance(data, DataLoader):
            data = fabric.setup_dataloaders(data, move_to_device=False)
        epochs = tqdm(
            range(state["epoch"], recipe.epochs), initial=state["epoch"], total=recipe.epochs,
            unit="epoch", disable=None if fabric.is_global_zero else True,
        )  # fmt: skip
        with self._student_maps, self._teacher_maps:
            for epoch in epochs:
                if recipe.patience and epoch - state["best_epoch"] > recipe.patience:
                    break
                row = self._run_epoch(epoch, data, validation, score)
                epochs.set_postfix({k: f"{row[k]:.3g}" for k in ("loss", "score") if k in row})
                fabric.log_dict(row, step=epoch)
                for logger in fabric.loggers:
                    logger.save()  # some loggers write only every few rows
                self._save()
        unwrap(self._student).load_state_dict(state["best"])

    def _run_epoch(
        self, epoch: int, data: Iterable, validation: object | None, score: Score
    ) -> dict[str, float]:
        """Train, score, and keep the weights if they are the best; return a row of the log."""
        recipe, state = self._recipe, self._state
        seed = np.random.SeedSequence((recipe.seed, epoch)).generate_state(1)[0]
        torch.manual_seed(int(seed))  # a resumed epoch draws the same numbers
        rate = recipe.learning_rate * SCHEDULES[recipe.schedule](epoch, recipe.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        row = {"epoch": epoch, "learning_rate": rate, **self._train_epoch(data)}
        if validation is not None:
            row["score"] = float(score(self._scored, validation))
        better = row.get("score", math.inf) > state["best_score"]
        if validation is None or better or not state["best"]:
            weights = self._scored.state_dict()
            state["best"] = {k: v.detach().cpu().clone() for k, v in weights.items()}
            state["best_epoch"], state["best_score"] = epoch, row.get("score", -math.inf)
        state["history"].append(row)
        state["epoch"] = epoch + 1
        return row

    def _train_epoch(self, data: Iterable) -> dict[str, float]:
        """Train on all batches and return the mean of each loss."""
        fabric, recipe = self._fabric, self._recipe
        self._step.train()
        sums, n_batches = Counter(), 0
        for inputs, targets in batches(data, fabric.device):
            with torch.no_grad(), fabric.autocast():
                wanted = choose(call(self._teacher, inputs), self._classes)
            labelled = isinstance(targets, Tensor) and targets.dtype == torch.long
            if labelled and wanted.ndim == 2:
                check_labels(targets, wanted)
            n_batches += 1
            waits = n_batches % recipe.accumulate > 0
            with fabric.no_backward_sync(self._step, enabled=waits):
                losses = self._step(inputs, wanted, self._teacher_maps.maps())
                values = torch.stack([x.detach() for x in losses.values()]).tolist()
                values = dict(zip(losses, values, strict=True))
                self._check_finite(values, inputs, targets)
                fabric.backward(losses["loss"] / recipe.accumulate)
            if not waits:
                self._update()
            sums.update(values)
        if waits:
            self._update()
        return {name: value / n_batches for name, value in sums.items()}

    def _update(self) -> None:
        """Take a step with the gradients that were added up."""
        if self._recipe.clip:
            self._fabric.clip_gradients(self._step, self._optimizer, max_norm=self._recipe.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._recipe.ema:
            self._state["average"].update_parameters(unwrap(self._student))

    def _check_finite(
        self, losses: Mapping[str, float], inputs: Inputs, targets: Tensor | None
    ) -> None:
        """Stop if the loss is infinite or not a number, and write the batch to a file."""
        if not math.isfinite(losses["loss"]):
            folder = self._folder or Path(tempfile.mkdtemp(prefix="subdistill-"))
            with replacing(folder / "bad_batch.pt") as new:
                write_object(torch.save, {"inputs": inputs, "targets": targets}, new)
            values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            raise RuntimeError(
                f"The loss is not finite ({values}). Lower learning_rate or set clip in the "
                f"recipe, or look for infinite inputs in the batch, {folder / 'bad_batch.pt'}."
            )

    def _save(self) -> None:
        """Write checkpoint and log."""
        if not self._folder:
            return
        held = {
            name: part.state_dict() if hasattr(part, "state_dict") else part
            for name, part in self._state.items()
        }
        if self._fabric.is_global_zero:
            with replacing(self._folder / CHECKPOINT) as new:
                write_object(torch.save, held | {"settings": self._settings}, new)
            self._write_log()
        self._fabric.barrier()

    def _write_log(self) -> None:
        with replacing(self._folder / LOG) as new, new.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)

    def _load(self, path: Path) -> None:
        """Go on from a checkpoint, and write the log that belongs to it."""
        what = f"another folder to begin again, or a copy of {path.name} from before"
        held = read_checkpoint(path, what)
        try:
            check_same(held.pop("settings"), self._settings, path.parent)
            for name, part in self._state.items():
                if hasattr(part, "load_state_dict"):
                    part.load_state_dict(held[name])
                elif type(held[name]) is type(part):
                    self._state[name] = held[name]
                else:
                    raise TypeError(name)
        except (AttributeError, KeyError, IndexError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path} is no checkpoint of this training: pass {what}.") from error
        if self._fabric.is_global_zero and self.history:
            self._write_log()
