"""The loop of a training, which can stop anywhere and go on."""

from __future__ import annotations

import csv
import math
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from mne.utils import logger, verbose
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from mne_invkit.population.draw import Population
from mne_piunet.inference import torch_network
from mne_piunet.kernel.inputs import MASK
from mne_piunet.net.losses import losses, normalized_transport
from mne_piunet.net.unet import PatchUNet, on_grid
from mne_piunet.training.curves import plot_curves
from mne_piunet.training.examples import Examples
from mne_piunet.training.recipe import Recipe, _keep_recipe
from mne_piunet.training.validation import LINES, Validation
from mne_piunet.weights import load_piunet

# %% Examples


# %% The loop


@verbose
def train(
    recipe: Recipe,
    population: Population,
    folder: Path,
    *,
    held_out: Population | None = None,
    minutes: float | None = None,
    every: float = 5.0,
    fabric: Fabric | None = None,
    verbose=None,
) -> Path:
    """Train a network, or go on where the last run in the folder stopped.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    population : Population
        The heads.
    folder : pathlib.Path
        For checkpoints, the recipe and the log; what is there is resumed.
    held_out : Population | None
        Heads for validation, scored at each checkpoint.
    minutes : float | None
        Stop, with a checkpoint, after this time; None for no limit.
    every : float
        Minutes between checkpoints.
    fabric : lightning_fabric.Fabric | None
        Devices and precision; by default the processor, in bfloat16 where it has that.
    %(verbose)s

    Returns
    -------
    path : pathlib.Path
        The checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _keep_recipe(recipe, folder / "recipe.json")
    if fabric is None:
        precision = "bf16-mixed" if has_bfloat16() else "32-true"
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    torch.manual_seed(recipe.seed)
    if recipe.start:
        network = torch_network(load_piunet(recipe.start))
    else:
        network = PatchUNet(recipe.widths, recipe.n_blocks, recipe.patch)
    network = network.train().to(memory_format=torch.channels_last_3d)  # for speed
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    model, optimizer = fabric.setup(network, optimizer)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    state = dict(network=network, average=average, optimizer=optimizer, step=0, seconds=0.0)
    checkpoint = folder / "checkpoint.ckpt"
    if checkpoint.exists():
        fabric.load(checkpoint, state)
        logger.info("Resuming at step %d of %d.", state["step"], recipe.n_steps)
    examples = Examples(recipe, population, network.multiple)
    validation = held_out and Validation(held_out, multiple=network.multiple)
    log = _Log(folder / "log.csv", ["step", "seconds", "loss"], state["step"])
    scores = _Log(folder / "scores.csv", ["step", "seconds", *LINES], state["step"])
    recent = deque(maxlen=50)
    start = saved = time.monotonic()
    before = state["seconds"]

    def save():
        state["seconds"] = before + time.monotonic() - start
        fabric.save(folder / "checkpoint.tmp", state)
        os.replace(folder / "checkpoint.tmp", checkpoint)
        if validation:
            found = validation.score(partial(run_network, average.module))
            scores.add(state["step"], round(state["seconds"]), *found.values())
            logger.info("Step %d: %s", state["step"], found)
            plot_curves(folder).savefig(folder / "curves.png", dpi=100)

    with (
        ThreadPoolExecutor(1) as ahead,
        tqdm(total=recipe.n_steps, initial=state["step"], unit="step", smoothing=0.05) as bar,
    ):
        batch = ahead.submit(examples.batch, state["step"])
        while state["step"] < recipe.n_steps:
            step = state["step"]
            inputs, targets = (fabric.to_device(x) for x in batch.result())
            batch = ahead.submit(examples.batch, step + 1)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, recipe)
            output = on_grid(model, inputs)
            generator = torch.Generator().manual_seed(recipe.seed + step)
            loss = total_loss(output, targets, inputs, recipe, generator)
            optimizer.zero_grad()
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=1.0)
            optimizer.step()
            average.update_parameters(network)
            state["step"] += 1
            bar.update()
            recent.append(loss.item())
            if not math.isfinite(recent[-1]):
                raise RuntimeError(f"The loss is not finite at step {step}; the checkpoint stands.")
            now = time.monotonic()
            if state["step"] % recent.maxlen == 0:
                log.add(state["step"], round(before + now - start), np.mean(recent))
                bar.set_postfix(loss=f"{np.mean(recent):.3f}")
            if now - saved > 60 * every:
                save()
                saved = now
            if minutes is not None and now - start > 60 * minutes:
                break
        batch.cancel()
    save()
    return checkpoint


def has_bfloat16() -> bool:
    """Tell whether the processor computes in bfloat16; where it does not, that is emulated."""
    # private: torch 2.6 has no public name for it; absent where torch has no oneDNN
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def total_loss(
    output: Tensor, targets: Tensor, inputs: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Weighted sum of the terms of :func:`mne_piunet.net.losses.losses` and of the transport."""
    mask = inputs[:, MASK : MASK + 1]
    terms = losses(output, targets, mask, generator)
    if recipe.transport:
        terms["transport"] = normalized_transport(output[:, 3:], targets[:, 3:], mask, generator)
    return sum(getattr(recipe, name) * term for name, term in terms.items())


def _schedule(step: int, recipe: Recipe) -> float:
    """Factor of the learning rate."""
    left = (recipe.n_steps - step) / (recipe.cooldown * recipe.n_steps)
    return min(1.0, (step + 1) / recipe.warmup, left)


@torch.inference_mode()
def run_network(network: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Apply a network to arrays on the grid."""
    return on_grid(network, torch.from_numpy(inputs)).numpy()


class _Log:
    """Rows of a CSV file; those after `step`, which a resumed run repeats, are dropped."""

    def __init__(self, path: Path, names: list[str], step: int):
        self._path = path
        rows = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.reader(file)][1:]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *(r for r in rows if int(r[0]) <= step)])

    def add(self, *values) -> None:
        """Append a row."""
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow([f"{v:.5g}" if isinstance(v, float) else v for v in values])
