"""Training over a population of heads, which can stop anywhere and resume."""

from __future__ import annotations

import os
import time
from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from mne.utils import logger, verbose
from tqdm import tqdm

from mne_invkit.population.draw import Population
from mne_piunet.inference import torch_network
from mne_piunet.net.unet import UNet, run_network
from mne_piunet.training.curves import plot_curves
from mne_piunet.training.examples import PopulationExamples
from mne_piunet.training.log import Log
from mne_piunet.training.loop import Training
from mne_piunet.training.recipe import CHECKPOINT, LOG, SCORES, Recipe
from mne_piunet.training.validation import CONDITIONS, Validation, held_out_cases
from mne_piunet.weights import load_piunet

_WINDOW = 50  # number of steps that each row of the log is the mean of


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
        Folder for checkpoint, recipe, log and scores. A run that is there is resumed.
    held_out : Population | None
        Heads for validation, scored at each checkpoint.
    minutes : float | None
        Stop after this time, with a checkpoint. None is no limit.
    every : float
        Minutes between checkpoints.
    fabric : lightning_fabric.Fabric | None
        Devices and precision. None is the CPU, in bfloat16 if it computes in that.
    %(verbose)s

    Returns
    -------
    path : pathlib.Path
        The checkpoint.
    """
    training, log, scores = start(recipe, folder, fabric)
    checkpoint, multiple = folder / CHECKPOINT, training.average.multiple
    validation = None
    if held_out:
        validation = Validation(held_out_cases(held_out, multiple=multiple))

    def save():
        training.save(checkpoint)
        if validation:
            found = validation.score(partial(run_network, training.average))
            scores.add(training.step, round(training.seconds), *found.values())
            logger.info("Step %d: %s", training.step, found)
            plot_curves(folder)

    recent, saved = deque(maxlen=_WINDOW), time.monotonic()
    examples = PopulationExamples(recipe, population, multiple)
    steps = training.steps(
        examples.batch, partial(_rate, recipe), n_steps=recipe.n_steps, minutes=minutes
    )
    with tqdm(total=recipe.n_steps, initial=training.step, unit="step", smoothing=0.05) as bar:
        for loss in steps:
            bar.update()
            recent.append(loss)
            if training.step % _WINDOW == 0:
                log.add(training.step, round(training.seconds), float(np.mean(recent)))
                bar.set_postfix(loss=f"{np.mean(recent):.3f}")
            if time.monotonic() - saved > 60 * every:
                save()
                saved = time.monotonic()
    save()
    return checkpoint


def start(recipe: Recipe, folder: Path, fabric: Fabric | None = None) -> tuple[Training, Log, Log]:
    """Start a run, or go on where the last one in the folder stopped.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    folder : pathlib.Path
        Folder of the run. Files that are there must be those of a run of this recipe.
    fabric : lightning_fabric.Fabric | None
        Devices and precision. None is the CPU, in bfloat16 if it computes in that.

    Returns
    -------
    training : Training
        The training, at the step of the checkpoint.
    log, scores : Log
        Tables of losses and of scores.
    """
    network = None
    if recipe.start:
        weights = load_piunet(recipe.start)
        if weights.card["network"] != recipe.network:
            raise ValueError(
                f"The model {recipe.start!r} to start from is another network than that of the "
                f"recipe: set {weights.card['network']} there."
            )
        network = torch_network(weights)
    recipe.keep(folder)
    torch.manual_seed(recipe.seed)
    training = Training(network or UNet(**recipe.network), recipe, fabric)
    checkpoint = folder / CHECKPOINT
    if os.path.lexists(checkpoint):
        training.load(checkpoint)
        logger.info("Resuming at step %d of %d.", training.step, recipe.n_steps)
    log = Log(folder / LOG, ["step", "seconds", "loss"], training.step)
    scores = Log(folder / SCORES, ["step", "seconds", *CONDITIONS], training.step)
    return training, log, scores


def _rate(recipe: Recipe, training: Training) -> float:
    """Factor of the learning rate: it rises, stays, and falls to zero."""
    left = (recipe.n_steps - training.step) / (recipe.cooldown * recipe.n_steps)
    return min(1.0, (training.step + 1) / recipe.warmup, left)
