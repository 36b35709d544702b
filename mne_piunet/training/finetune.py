"""Fine-tuning of a model to one forward solution."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import mne
import numpy as np
from mne.utils import logger, verbose, warn

from mne_invkit._mne import space_kind
from mne_invkit._progress import progress_bar
from mne_piunet._docs import fill_doc
from mne_piunet.inference import torch_network
from mne_piunet.operator import PIUNet, make_piunet, xyz_gain
from mne_piunet.training.cases import Case, background
from mne_piunet.training.recipe import Recipe
from mne_piunet.training.validation import CONDITIONS, Validation
from mne_piunet.weights import OWN, Weights

if TYPE_CHECKING:
    from mne_piunet.training.examples import CaseExamples
    from mne_piunet.training.loop import Training

if TYPE_CHECKING:
    from mne_piunet.training.examples import CaseExamples
    from mne_piunet.training.loop import Training

_N_CASES, _N_TESTS, _N_SAMPLES = 12, 4, 6
_WRONG = 0.1  # relative error of the gain that makes the data
_CHANGED = dict(batch_size=16, warmup=50, ema=0.99)  # where fine-tuning differs from the training


@verbose
@fill_doc
def finetune_piunet(
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    path: str | Path,
    minutes: float = 10.0,
    model: str | Path | Weights = "default",
    learning_rate: float = 2e-4,
    overwrite: bool = False,
    rng: int | np.random.Generator | None = None,
    verbose=None,
) -> Weights:
    """Train a model further on one forward solution.

    Sources are simulated as in the training, but all in this head and seen by these sensors. The
    gain that makes their data differs by a tenth from the forward solution. The errors of the
    gain differ between the examples for training and those that compare the models.

    Parameters
    ----------
    %(fwd)s
    %(noise)s
    %(model_path)s
    minutes : float
        Duration of the training. Ctrl-C ends it earlier and keeps what was learned so far.
    model : str | path-like | Weights
        The model to start from. Its card tells the weights of the loss.
    learning_rate : float
        Highest learning rate of AdamW. It falls to zero at the end.
    %(overwrite)s
    %(seed)s
    %(verbose)s

    Returns
    -------
    weights : Weights
        The new model. If it is not better than `model`, there is a warning, nothing is written,
        and `model` is returned.

    Examples
    --------
    >>> from mne_piunet import apply_piunet, finetune_piunet
    >>> own = finetune_piunet(forward, noise_cov, path="me.safetensors")  # doctest: +SKIP
    >>> apply_piunet(evoked, forward, noise_cov, model=own)  # doctest: +SKIP
    """
    try:
        from mne_piunet.net.unet import run_network
        from mne_piunet.training.examples import CaseExamples
        from mne_piunet.training.export import check_model_path, write_model
        from mne_piunet.training.loop import Training
    except ImportError as error:
        raise ImportError(f'{error}. Fine-tuning needs pip install "mne-invkit[train]".') from error
    path = Path(path)
    check_model_path(path, overwrite=overwrite)
    if not minutes > 0:
        raise ValueError(f"minutes must be positive, got {minutes}.")
    rng = np.random.default_rng(rng)
    operator = make_piunet(_info(forward), forward, noise_cov, model=model, backend="torch")
    weights = operator.network.weights
    network = torch_network(weights)
    cases = [draw_similar(operator, rng) for _ in range(_N_CASES + _N_TESTS)]
    tests = Validation([(case, rng) for case in cases[_N_CASES:]], _N_SAMPLES)
    recipe = Recipe.from_dict(weights.card.get("recipe", {}))
    seed = int(rng.integers(2**31))
    recipe = replace(recipe, learning_rate=learning_rate, seed=seed, **_CHANGED)
    before = tests.score(partial(run_network, network))
    training = Training(network, recipe)
    try:
        _train(training, CaseExamples(recipe, cases[:_N_CASES]), minutes)
    except FloatingPointError as error:
        warn(f"{error} The model from before is returned.")
        return weights
    logger.info("Trained for %d steps.", training.step)
    network = training.average.eval()
    after = tests.score(partial(run_network, network))
    for condition in CONDITIONS:
        logger.info(
            "%s: normalized EMD %.3f, was %.3f", condition, after[condition], before[condition]
        )
    if not np.mean(list(after.values())) < np.mean(list(before.values())):
        warn(
            f"After {training.step} steps the model is not better on this head ({after}) than "
            f"before ({before}). The model from before is returned: train for longer than "
            f"{minutes:g} minutes."
        )
        return weights
    card = {k: v for k, v in weights.card.items() if k not in ("sha256", "network", OWN)}
    card["finetuned"] = {"from": weights.name, "steps": training.step,
                         "before": before, "after": after}  # fmt: skip
    return write_model(network, path, card, weights.card["network"], overwrite=overwrite)


def _train(training: Training, examples: CaseExamples, minutes: float) -> None:
    """Train until the time is over, or until Ctrl-C."""

    def rate(training):
        risen = min(1, (training.step + 1) / _CHANGED["warmup"])
        return risen * 0.5 * (1 + math.cos(math.pi * training.seconds / (60 * minutes)))

    with progress_bar(60 * minutes, "fine-tuning", "s") as bar, suppress(KeyboardInterrupt):
        for _ in training.steps(examples.batch, rate, minutes=minutes):
            bar.update(min(training.seconds, 60 * minutes) - bar.n)


def _info(forward: mne.Forward) -> mne.Info:
    """Complete the measurement info of a forward solution, which holds a part of it."""
    part = forward["info"]
    kinds = [mne.channel_type(part, k) for k in range(len(part["chs"]))]
    info = mne.create_info([ch["ch_name"] for ch in part["chs"]], 1.0, kinds)
    for ch, given in zip(info["chs"], part["chs"], strict=True):
        ch.update(given)
    info["dev_head_t"] = part["dev_head_t"]
    info["bads"] = part["bads"]
    return info


@fill_doc
def draw_similar(operator: PIUNet, rng: np.random.Generator) -> Case:
    """Draw noise and a gain that makes data, both similar to those of an operator.

    Parameters
    ----------
    operator : PIUNet
        The prepared forward solution.
    %(generator)s

    Returns
    -------
    case : Case
        The case.
    """
    problem = operator.problem
    gain = xyz_gain(problem)
    n_sensors = len(gain)
    mixing = np.eye(n_sensors) + _WRONG * rng.standard_normal((n_sensors,) * 2) / n_sensors**0.5
    data_gain = (mixing @ gain).astype(np.float32)
    noise = background(np.eye(n_sensors), data_gain, rng)
    fixed = problem.n_orient == 1
    has_normals = fixed or space_kind(problem.forward["src"]) == "surface"
    return Case(
        voxel_model=operator.voxel_model,
        data_gain=data_gain,
        noise_root=np.linalg.cholesky(noise).astype(np.float32),
        positions=problem.forward["source_rr"].astype(np.float32),
        normals=problem.axes[:, -1].astype(np.float32) if has_normals else None,
        fixed=fixed,
    )
