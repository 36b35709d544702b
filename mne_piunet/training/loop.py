"""The loop of every training: steps of a network on examples, until they or the time are over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mne_invkit._files import write_whole
from mne_piunet.files import read_checkpoint
from mne_piunet.kernel.inputs import MASK
from mne_piunet.net.losses import losses, normalized_transport
from mne_piunet.net.unet import UNet, on_grid
from mne_piunet.training.recipe import Recipe


class Training:
    """A network in training: all that a checkpoint keeps.

    Parameters
    ----------
    network : UNet
        The network, which is changed in place.
    recipe : Recipe
        Optimizer, running average, terms of the loss and seed.
    fabric : lightning_fabric.Fabric | None
        Devices and precision. None is the CPU, in bfloat16 if it computes in that.

    Attributes
    ----------
    average : torch.nn.Module
        Network with the running average of the weights.
    step : int
        Number of steps taken.
    seconds : float
        Time that they took.
    """

    def __init__(self, network: UNet, recipe: Recipe, fabric: Fabric | None = None):
        if fabric is None:
            precision = "bf16-mixed" if has_bfloat16() else "32-true"
            fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        self.step, self.seconds = 0, 0.0
        self._recipe, self._fabric = recipe, fabric
        self._network = network.train().to(memory_format=torch.channels_last_3d)  # for speed
        optimizer = torch.optim.AdamW(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._model, self._optimizer = fabric.setup(network, optimizer)
        average = get_ema_multi_avg_fn(recipe.ema)
        self._averaged = AveragedModel(network, multi_avg_fn=average)

    @property
    def average(self) -> UNet:
        """Network with the running average of the weights."""
        return self._averaged.module

    def steps(
        self,
        batch: Callable[[int], tuple[Tensor, Tensor]],
        rate: Callable[[Training], float],
        *,
        n_steps: int | None = None,
        minutes: float | None = None,
    ) -> Iterator[float]:
        """Train step by step; whoever iterates logs, saves, validates, or breaks off.

        Parameters
        ----------
        batch : callable
            From the number of the step to inputs and targets. It is called one step ahead, in a
            thread.
        rate : callable
            From the training to the factor of the learning rate.
        n_steps : int | None
            Stop when `step` reaches this number.
        minutes : float | None
            Stop after this time, but not before one step.

        Yields
        ------
        loss : float
            Loss of the step.
        """
        limit = math.inf if n_steps is None else n_steps
        deadline = math.inf if minutes is None else self.seconds + 60 * minutes
        start = time.monotonic() - self.seconds
        if self.step >= limit:
            return
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(batch, self.step)
            while self.step < limit:
                inputs, targets = (self._fabric.to_device(x) for x in coming.result())
                if self.step + 1 < limit:
                    coming = ahead.submit(batch, self.step + 1)
                loss = self._take_step(inputs, targets, rate(self))
                self.seconds = time.monotonic() - start
                yield loss
                if self.seconds >= deadline:
                    break

    def _take_step(self, inputs: Tensor, targets: Tensor, rate: float) -> float:
        """Take one step; return its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * rate
        output = on_grid(self._model, inputs)
        generator = torch.Generator().manual_seed(self._recipe.seed + self.step)
        loss = total_loss(output, targets, inputs, self._recipe, generator)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss is not finite at step {self.step}: lower the learning rate."
            )
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        self._fabric.clip_gradients(self._model, self._optimizer, max_norm=1.0)
        self._optimizer.step()
        self._averaged.update_parameters(self._network)
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write a checkpoint.

        Parameters
        ----------
        path : pathlib.Path
            The file.
        """
        state = {
            name: value.state_dict() if hasattr(value, "state_dict") else value
            for name, value in self._state().items()
        }
        contents = BytesIO()  # torch itself would end the process where the disk is full
        torch.save(state, contents)
        with write_whole(path) as part:
            part.write_bytes(contents.getbuffer())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Parameters
        ----------
        path : pathlib.Path
            File that :meth:`save` wrote.
        """
        kept = read_checkpoint(path)
        if kept.get("recipe") != self._recipe.as_dict():
            raise ValueError(
                f"{path} belongs to a run of another recipe: pass another folder, or the recipe of "
                "this run to resume it."
            )
        try:
            for name, part in self._state().items():
                if hasattr(part, "load_state_dict"):
                    part.load_state_dict(kept[name])
            self.step, self.seconds = int(kept["step"]), float(kept["seconds"])
        except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no checkpoint of this network: pass another folder, or delete the file "
                "to begin again."
            ) from error

    def _state(self) -> dict:
        return dict(
            network=self._network, average=self._averaged, optimizer=self._optimizer,
            step=self.step, seconds=self.seconds, recipe=self._recipe.as_dict(),
        )  # fmt: skip


def has_bfloat16() -> bool:
    """Tell whether the CPU computes in bfloat16, and does not emulate it.

    Returns
    -------
    has_bfloat16 : bool
        Whether it does.
    """
    # private: torch 2.6 has no public name for it; absent where torch has no oneDNN
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def total_loss(
    output: Tensor, targets: Tensor, inputs: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Sum the terms of the loss with the weights of a recipe.

    Parameters
    ----------
    output, targets : Tensor, shape (batch, 4, *grid)
        Moments and strengths.
    inputs : Tensor, shape (batch, N_INPUTS, *grid)
        Inputs of the network.
    recipe : Recipe
        Weights of the terms.
    generator : torch.Generator
        Draws what is random in the terms.

    Returns
    -------
    loss : Tensor
        The weighted sum.
    """
    mask = inputs[:, MASK : MASK + 1]
    terms = losses(output, targets, mask, generator)
    if recipe.transport:
        terms["transport"] = normalized_transport(output[:, 3:], targets[:, 3:], mask, generator)
    return sum(getattr(recipe, name) * term for name, term in terms.items())
