"""Fine-tuning of a model to one forward solution."""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from pathlib import Path

import mne
import numpy as np
import torch
from mne.utils import fill_doc, logger, verbose, warn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from mne_piunet.inference import torch_network
from mne_piunet.net.unet import on_grid
from mne_piunet.operator import PIUNet, free_gain, make_piunet, source_axes
from mne_piunet.training.cases import Case, background
from mne_piunet.training.export import write_model
from mne_piunet.training.loop import has_bfloat16, run_network, total_loss
from mne_piunet.training.recipe import Recipe
from mne_piunet.training.validation import LINES, score_examples
from mne_piunet.weights import Weights

_N_CASES, _N_TESTS, _N_SAMPLES = 12, 4, 6
_BATCH = 16
_WRONG = 0.1  # relative error of the gain that makes the data
_EMA = 0.99
_WARMUP = 50  # steps


@fill_doc
@verbose
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

    Sources are simulated as in the training, but all of them in this head, seen by these
    sensors. The gain that makes their data is wrong by a tenth, in a way that differs between
    the examples trained on and those that measure the gain.

    Parameters
    ----------
    forward : mne.Forward
        Forward solution of any source space.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    path : path-like
        File to write, ``.safetensors``; card and ONNX twin are written beside it.
    minutes : float
        How long to train. Interrupting (Ctrl-C) stops earlier, with what was learned.
    model : str | path-like | Weights
        Where to start from.
    learning_rate : float
        Of AdamW, falling to zero at the end.
    overwrite : bool
        Whether an existing file may be replaced.
    rng : int | numpy.random.Generator | None
        Seed or generator of the examples.
    %(verbose)s

    Returns
    -------
    weights : Weights
        The new model, or the one to start from if the new one is not better: then there is a
        warning, and nothing is written.

    Examples
    --------
    >>> from mne_piunet import apply_piunet, finetune_piunet
    >>> own = finetune_piunet(forward, noise_cov, path="me.safetensors")  # doctest: +SKIP
    >>> apply_piunet(evoked, forward, noise_cov, model=own)  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass overwrite=True, or another path.")
    if not minutes > 0:
        raise ValueError(f"minutes must be positive, got {minutes}.")
    rng = np.random.default_rng(rng)
    operator = make_piunet(_info(forward), forward, noise_cov, model=model, backend="torch")
    network = torch_network(operator.weights)
    cases = [draw_similar(operator, rng) for _ in range(_N_CASES + _N_TESTS)]
    tests = _examples(cases[_N_CASES:], rng)
    before = score_examples(partial(run_network, network), tests)
    steps = _train(network, cases[:_N_CASES], minutes, learning_rate, rng)
    after = score_examples(partial(run_network, network), tests)
    for line in LINES:
        logger.info("%s: normalized EMD %.3f, was %.3f", line, after[line], before[line])
    if not np.mean(list(after.values())) < np.mean(list(before.values())):
        warn(
            f"After {steps} steps the model is not better on this head ({after}) than before "
            f"({before}), which is returned: train for longer than {minutes:g} minutes."
        )
        return operator.weights
    card = {k: v for k, v in operator.weights.card.items() if k not in ("sha256", "network")}
    card["finetuned"] = {"from": operator.weights.name, "steps": steps, "before": before,
                         "after": after}  # fmt: skip
    return write_model(network, path, card, operator.weights.card["network"])


def _info(forward: mne.Forward) -> mne.Info:
    """Measurement info of the channels of a forward solution, which keeps only a part of it."""
    part = forward["info"]
    kinds = [mne.channel_type(part, k) for k in range(len(part["chs"]))]
    info = mne.create_info([ch["ch_name"] for ch in part["chs"]], 1.0, kinds)
    for ch, given in zip(info["chs"], part["chs"], strict=True):
        ch.update(given)
    info["dev_head_t"] = part["dev_head_t"]
    info["bads"] = part["bads"]
    return info


def draw_similar(operator: PIUNet, rng: np.random.Generator) -> Case:
    """Draw noise and a gain that makes data, close to what an operator believes.

    Parameters
    ----------
    operator : PIUNet
        The prepared forward solution.
    rng : numpy.random.Generator
        The generator.

    Returns
    -------
    case : Case
        Ready to draw examples from.
    """
    problem = operator.problem
    gain = free_gain(problem)
    n_sensors = len(gain)
    mixing = np.eye(n_sensors) + _WRONG * rng.standard_normal((n_sensors,) * 2) / n_sensors**0.5
    data_gain = (mixing @ gain).astype(np.float32)
    noise = background(np.eye(n_sensors), data_gain, rng)
    fixed = problem.n_orient == 1
    has_normals = fixed or problem.forward["src"].kind == "surface"
    return Case(
        physics=operator.physics,
        data_gain=data_gain,
        noise_root=np.linalg.cholesky(noise).astype(np.float32),
        positions=problem.forward["source_rr"].astype(np.float32),
        normals=source_axes(problem)[:, -1] if has_normals else None,
        fixed=fixed,
    )


def _examples(cases: list[Case], rng) -> dict[str, list]:
    """Examples of each line, to score."""
    examples = {}
    for line, (n_sources, snr) in LINES.items():
        drawn = [
            (case, *case.draw(_N_SAMPLES, rng, n_sources=n_sources, snr=snr)) for case in cases
        ]
        examples[line] = [(inputs, case.targets(moments)) for case, inputs, moments in drawn]
    return examples


def _train(network, cases, minutes, learning_rate, rng) -> int:
    """Train a network in place until the time is over, return the number of steps."""
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(_EMA))
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    start, step, spent = time.monotonic(), 0, 0.0
    network.train()
    bar = tqdm(total=60 * minutes, unit="s", disable=logger.level > logging.INFO)
    with bar:
        try:
            while spent < 60 * minutes:
                case = cases[rng.integers(len(cases))]
                inputs, moments = case.draw(_BATCH, rng)
                inputs = torch.from_numpy(inputs)
                targets = torch.from_numpy(case.targets(moments))
                rate = min(1, (step + 1) / _WARMUP)
                rate *= 0.5 * (1 + math.cos(math.pi * spent / (60 * minutes)))
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * rate
                with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
                    output = on_grid(network, inputs)
                loss = total_loss(output, targets, inputs, Recipe(), generator)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                average.update_parameters(network)
                step += 1
                spent = time.monotonic() - start
                bar.update(min(spent, 60 * minutes) - bar.n)
        except KeyboardInterrupt:
            logger.info("Interrupted after %d steps.", step)
    network.load_state_dict(average.module.state_dict())
    network.eval()
    return step
