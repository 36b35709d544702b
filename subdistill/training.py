"""The loop of a distillation."""

from __future__ import annotations

import csv
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from subdistill.capture import Capture
from subdistill.data import Classes, batches, check_labels, choose
from subdistill.models import unwrap
from subdistill.objectives import Objective

CHECKPOINT = "checkpoint.ckpt"

SCHEDULES: dict[str, Callable[[int, int], float]] = dict(
    constant=lambda epoch, epochs: 1.0,
    halve=lambda epoch, epochs: 0.5 ** (epoch // 25),
    cosine=lambda epoch, epochs: 0.5 * (1 + math.cos(math.pi * epoch / epochs)),
)
"""Factors of the learning rate, from the epoch and the number of epochs."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs : int
        Passes over the data.
    weight : float
        Weight lambda of the layers beside the loss of the output.
    rank : int | None
        Dimensions of the subspaces; None for as many as both layers of a pair have channels.
    learning_rate, weight_decay : float
        Of AdamW.
    schedule : str
        Name in :data:`SCHEDULES`.
    accumulate : int
        Batches of a step.
    clip : float | None
        Largest norm of the gradient.
    ema : float
        Decay of the running average of the weights, which is then what is kept; 0 for none.
    patience : int | None
        Epochs without a better score after which to stop.
    seed : int
        Of all random numbers of the training, not of the student's first weights.
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
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"There is no schedule {self.schedule!r}: pass one of {list(SCHEDULES)}."
            )
        if self.epochs < 1 or self.accumulate < 1:
            raise ValueError("A recipe needs at least one epoch, and one batch for each step.")


class Step(nn.Module):
    """Student and objective in one module, so that parallel training sees all parameters.

    Parameters
    ----------
    student : torch.nn.Module
        The student.
    objective : Objective
        Its losses.
    layers : dict of str
        The student's layer for each of the teacher's.
    captured : Capture
        Of the student's layers, open while the module runs.
    """

    def __init__(
        self, student: nn.Module, objective: Objective, layers: Mapping[str, str], captured: Capture
    ):
        super().__init__()
        self.student, self.objective = student, objective
        self.layers, self.captured = layers, captured

    def forward(
        self, inputs: Tensor, wanted: Tensor, teacher_maps: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch, given output and maps of the teacher."""
        output, found = self.student(inputs), self.captured.maps()
        maps = {name: (found[self.layers[name]], teacher_maps[name]) for name in self.layers}
        return self.objective(output, wanted, maps)


class Training:
    """A training that can stop after any epoch and go on.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        The teacher, frozen, and the student, both on the device.
    objective : Objective
        The losses.
    layers : dict of str
        The student's layer for each of the teacher's.
    classes : sequence of (int | sequence of int) | None
        Outputs of the teacher that the student's outputs stand for.
    recipe : Recipe
        How to train.
    folder : pathlib.Path | None
        For checkpoint and log.
    fabric : lightning_fabric.Fabric
        Devices and precision.

    Attributes
    ----------
    history : list of dict
        Losses, learning rate and score of each epoch.
    best_epoch : int
        Epoch of the weights that are kept, from 0.
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
        fabric: Fabric,
    ):
        self._teacher, self._student, self._layers = teacher, student, layers
        self._classes, self._recipe = classes, recipe
        self._folder, self._fabric = folder, fabric
        self._captured, self._wanted = Capture(student, layers.values()), Capture(teacher, layers)
        step = Step(student, objective, layers, self._captured)
        optimizer = torch.optim.AdamW(
            step.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._step, self._optimizer = fabric.setup(step, optimizer)
        self._state = dict(
            step=self._step, optimizer=self._optimizer,
            epoch=0, history=[], best={}, best_epoch=-1, best_score=-math.inf,
        )  # fmt: skip
        self._kept = unwrap(student)
        if recipe.ema:
            decay = get_ema_multi_avg_fn(recipe.ema)
            self._state["average"] = AveragedModel(self._kept, multi_avg_fn=decay)
            self._kept = self._state["average"].module
        if folder and (folder / CHECKPOINT).exists():
            fabric.load(folder / CHECKPOINT, self._state)

    @property
    def history(self) -> list[dict[str, float]]:
        """Losses, learning rate and score of each epoch."""
        return self._state["history"]

    @property
    def best_epoch(self) -> int:
        """Epoch of the weights that are kept."""
        return self._state["best_epoch"]

    def run(
        self,
        data: DataLoader,
        validation: DataLoader | None,
        score: Callable[[nn.Module, DataLoader], float],
    ) -> None:
        """Train to the end, and load the best weights into the student.

        Parameters
        ----------
        data, validation : torch.utils.data.DataLoader
            What to train on, and what to choose the best epoch on.
        score : callable
            Function of student and validation data whose largest value is best.
        """
        recipe, state, fabric = self._recipe, self._state, self._fabric
        loader = fabric.setup_dataloaders(data, move_to_device=False)
        epochs = tqdm(
            range(state["epoch"], recipe.epochs), initial=state["epoch"], total=recipe.epochs,
            unit="epoch", disable=None if fabric.is_global_zero else True,
        )  # fmt: skip
        with self._captured, self._wanted:
            for epoch in epochs:
                if recipe.patience and epoch - state["best_epoch"] > recipe.patience:
                    break
                row = self._run_epoch(epoch, loader, validation, score)
                epochs.set_postfix({k: f"{row[k]:.3g}" for k in ("loss", "score") if k in row})
                fabric.log_dict(row, step=epoch)
                for logger in fabric.loggers:
                    logger.save()  # some keep many rows back
                self._save()
        unwrap(self._student).load_state_dict(state["best"])

    def _run_epoch(
        self,
        epoch: int,
        loader: DataLoader,
        validation: DataLoader | None,
        score: Callable[[nn.Module, DataLoader], float],
    ) -> dict[str, float]:
        """Train, score, and keep the weights if they are the best; return the row of the log."""
        recipe, state = self._recipe, self._state
        seed = np.random.SeedSequence((recipe.seed, epoch)).generate_state(1)[0]
        torch.manual_seed(int(seed))  # an epoch is a function of the state before it
        rate = recipe.learning_rate * SCHEDULES[recipe.schedule](epoch, recipe.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        row = {"epoch": epoch, "learning_rate": rate, **self._train_epoch(loader)}
        if validation is not None:
            row["score"] = float(score(self._kept, validation))
        better = row.get("score", math.inf) > state["best_score"]
        if validation is None or better or not state["best"]:
            weights = self._kept.state_dict()
            state["best"] = {k: v.detach().cpu().clone() for k, v in weights.items()}
            state["best_epoch"], state["best_score"] = epoch, row.get("score", -math.inf)
        state["history"].append(row)
        state["epoch"] = epoch + 1
        return row

    def _train_epoch(self, loader: DataLoader) -> dict[str, float]:
        """Train on all batches and return the mean of each loss."""
        fabric, recipe = self._fabric, self._recipe
        self._step.train()
        sums, n_batches = Counter(), 0
        for inputs, targets in batches(loader, fabric.device):
            with torch.no_grad(), fabric.autocast():
                wanted = choose(self._teacher(inputs), self._classes)
            if targets is not None and targets.dtype == torch.long and wanted.ndim == 2:
                check_labels(targets, wanted)
            n_batches += 1
            waits = n_batches % recipe.accumulate > 0
            with fabric.no_backward_sync(self._step, enabled=waits):
                losses = self._step(inputs, wanted, self._wanted.maps())
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
        """Take a step with the gradients there are."""
        if self._recipe.clip:
            self._fabric.clip_gradients(self._step, self._optimizer, max_norm=self._recipe.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._recipe.ema:
            self._state["average"].update_parameters(unwrap(self._student))

    def _check_finite(
        self, losses: Mapping[str, float], inputs: Tensor, targets: Tensor | None
    ) -> None:
        """Stop at a loss that is no number, with the batch for a closer look."""
        if not math.isfinite(losses["loss"]):
            folder = self._folder or Path(tempfile.mkdtemp(prefix="subdistill-"))
            torch.save({"inputs": inputs, "targets": targets}, folder / "bad_batch.pt")
            values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            raise RuntimeError(
                f"The loss is not finite ({values}); the batch is in {folder / 'bad_batch.pt'}. "
                "Lower learning_rate, set clip in the recipe, or look for infinite inputs."
            )

    def _save(self) -> None:
        """Write checkpoint and log, the checkpoint whole or not at all."""
        if not self._folder:
            return
        self._fabric.save(self._folder / f"{CHECKPOINT}.new", self._state)
        if self._fabric.is_global_zero:
            os.replace(self._folder / f"{CHECKPOINT}.new", self._folder / CHECKPOINT)
            with (self._folder / "log.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, self.history[0])
                writer.writeheader()
                writer.writerows(self.history)
