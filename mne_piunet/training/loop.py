"""Training of the network over a population of heads."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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
from mne_piunet.curves import plot_curves
from mne_piunet.inference import torch_network
from mne_piunet.losses import losses, normalized_transport
from mne_piunet.network import PatchUNet, on_grid
from mne_piunet.physics import MASK, N_MOMENTS
from mne_piunet.simulation import Case, draw_case
from mne_piunet.validation import LINES, Validation
from mne_piunet.weights import load_piunet


@dataclass(frozen=True)
class Recipe:
    """All that defines a training run.

    Attributes
    ----------
    n_heads : int
        Heads of the population, of the seeds 0, 1, ...
    widths, n_blocks, patch
        As for :class:`mne_piunet.network.PatchUNet`.
    n_steps, batch_size : int
        Steps, and examples of each.
    n_cases : int
        Cases (head, montage, noise) in use at a time; each batch draws from `mixed` of them.
    mixed : int
        Cases of a batch.
    lifetime : int
        Steps after which a case is replaced by a new one.
    learning_rate, weight_decay, warmup, cooldown : float
        Of AdamW; a linear rise over `warmup` steps, and a linear fall to zero over the share
        `cooldown` of all steps at the end.
    lines, pyramid, direction, moment : float
        Weights of the terms of :func:`mne_piunet.losses.losses`.
    transport : float
        Weight of the earth mover's distance itself, normalized; exact, so it takes a few ms more
        for each example.
    ema : float
        Decay of the running average of the weights, which is what is kept.
    seed : int
        Seed of the weights and of all examples.
    start : str
        Name or file of the model to start from; random weights if empty.
    """

    n_heads: int = 64
    widths: tuple[int, ...] = (16, 64)
    n_blocks: tuple[int, ...] = (1, 4)
    patch: int = 2
    n_steps: int = 60_000
    batch_size: int = 16
    n_cases: int = 16
    mixed: int = 4
    lifetime: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 200
    cooldown: float = 0.3
    lines: float = 1.0
    pyramid: float = 1.0
    direction: float = 0.3
    moment: float = 0.1
    transport: float = 0.0
    ema: float = 0.999
    seed: int = 0
    start: str = ""

    def as_dict(self) -> dict:
        """Return the fields, for a file."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe from a JSON file."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


# %% Examples


class Examples:
    """Batches, each a function of the step alone, so that a run can stop anywhere and resume.

    Slot k of the pool holds the case number ``(step + k * lifetime / n_cases) // lifetime`` of
    its own sequence: cases are replaced one after the other, not at once.
    """

    def __init__(self, recipe: Recipe, population: Population, multiple: int):
        self._recipe, self._population, self._multiple = recipe, population, multiple
        self._pool: dict[int, tuple[int, Case]] = {}

    def _case(self, slot: int, step: int) -> Case:
        r = self._recipe
        number = (step + slot * r.lifetime // r.n_cases) // r.lifetime
        if slot not in self._pool or self._pool[slot][0] != number:
            rng = np.random.default_rng([r.seed, 1, slot, number])
            head = self._population[int(rng.integers(len(self._population)))]
            self._pool[slot] = number, draw_case(head, rng, multiple=self._multiple)
        return self._pool[slot][1]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step, padded to a common grid."""
        r = self._recipe
        rng = np.random.default_rng([r.seed, 2, step])
        cases = [self._case(slot, step) for slot in range(r.n_cases)]
        cases.sort(key=lambda case: np.prod(case.physics.grid.shape))
        first = rng.integers(r.n_cases - r.mixed + 1)  # of neighbours in size: less to pad
        parts = []
        for case in cases[first : first + r.mixed]:
            inputs, moments = case.draw(r.batch_size // r.mixed, rng)
            parts.append((inputs, case.targets(moments)))
        inputs, targets = (_padded(p) for p in zip(*parts, strict=True))
        if rng.random() < 0.5:
            inputs, targets = _mirrored(inputs, N_MOMENTS), _mirrored(targets, 3)
        return torch.from_numpy(inputs), torch.from_numpy(targets)


def _padded(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """Stack examples of several grids, with zeros around the smaller ones."""
    shape = np.max([p.shape[2:] for p in parts], axis=0)
    out = np.zeros((sum(map(len, parts)), parts[0].shape[1], *shape), np.float32)
    start = 0
    for p in parts:
        x, y, z = p.shape[2:]
        out[start : start + len(p), :, :x, :y, :z] = p
        start += len(p)
    return out


def _mirrored(fields: np.ndarray, n_moments: int) -> np.ndarray:
    """Swap left and right, in place and in the x components of the leading channels."""
    fields = fields[:, :, ::-1].copy()
    fields[:, 0:n_moments:3] *= -1
    return fields


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
    """Weighted sum of the terms of :func:`mne_piunet.losses.losses` and of the transport."""
    mask = inputs[:, MASK : MASK + 1]
    terms = losses(output, targets, mask, generator)
    if recipe.transport:
        terms["transport"] = normalized_transport(output[:, 3:], targets[:, 3:], mask, generator)
    return sum(getattr(recipe, name) * term for name, term in terms.items())


def _schedule(step: int, recipe: Recipe) -> float:
    """Factor of the learning rate."""
    left = (recipe.n_steps - step) / (recipe.cooldown * recipe.n_steps)
    return min(1.0, (step + 1) / recipe.warmup, left)


def _keep_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe, or check that the folder belongs to the same one."""
    text = json.dumps(recipe.as_dict(), indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path.parent} holds a run of another recipe: pass another folder, or the recipe "
            f"in {path.name} to resume it."
        )
    path.write_text(text, encoding="utf-8")


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
