"""3D-PIUNet on MNE objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import mne
import numpy as np
from mne.utils import logger, verbose, warn

from mne_invkit._progress import progress_bar
from mne_invkit.inverse.gate import pass_gate
from mne_invkit.inverse.instances import (
    check_instances,
    good_samples,
    naves,
    own_instances,
    pieces,
    samples_between,
)
from mne_invkit.inverse.priors import check_pick_ori, check_pick_ori_name
from mne_invkit.inverse.problem import Instance, InverseProblem
from mne_invkit.inverse.result import InverseResult, make_result
from mne_invkit.inverse.stc import Estimate, make_stc
from mne_invkit.inverse.values import check_amplitudes
from mne_invkit.solvers.registry import Solver
from mne_piunet._docs import fill_doc
from mne_piunet.inference import check_n_jobs, find_backend
from mne_piunet.operator import PIUNet, make_piunet
from mne_piunet.weights import Weights, load_piunet


@verbose
@fill_doc
def fit_piunet(
    evoked: Instance,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int = 16,
    n_jobs: int | None = None,
    rank: dict | str | None = None,
    verbose=None,
) -> InverseResult:
    """Estimate sources by 3D-PIUNet, with residual and explained variance.

    Parameters
    ----------
    %(inst)s
    %(fwd_or_operator)s
    %(noise)s
    %(ori)s
    %(model)s
    %(backend)s
    %(batch_size)s
    %(n_jobs)s
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    result : InverseResult
        Estimate (A m), residual, explained variance and dipoles, made when asked for. Every
        sample is solved by itself: the network finds the proportions of the amplitudes, and a
        least-squares fit to the data finds their size.

    See Also
    --------
    apply_piunet : Returns the estimate alone.

    References
    ----------
    Morik, M. et al. (2024). Enhancing brain source reconstruction by initializing 3-D neural
    networks with physical inverse solutions. arXiv:2411.00143.
    """
    insts = check_instances(evoked)
    run = dict(batch_size=batch_size, n_jobs=n_jobs)
    prepared = dict(noise_cov=noise_cov, model=model, backend=backend, rank=rank)
    operator = _prepare(insts, forward, pick_ori, run, prepared)
    problem = operator.problem.with_data(evoked)
    found = np.empty((len(problem.data), problem.gain.shape[1], len(problem.times)), np.float32)
    with _bar(len(problem.data) * len(problem.times)) as bar:
        shown, good = run | {"on_batch": bar.update}, good_samples(problem.insts[0])
        estimates = _estimates(operator, problem, good, shown, set())
        for trial, estimate in zip(found, estimates, strict=True):
            trial[:] = estimate
    network = operator.network
    settings = {
        **run,
        "model": network.weights.name,
        "backend": network.backend,
        "versions": f"{problem.settings['versions']}, {network.backend} {version(network.backend)}",
    }
    return make_result(problem, found, module=__name__, pick_ori=pick_ori, settings=settings)


@verbose
@fill_doc
def apply_piunet(
    evoked: Instance,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int = 16,
    n_jobs: int | None = None,
    rank: dict | str | None = None,
    verbose=None,
) -> Estimate | list[Estimate]:
    """Estimate sources by 3D-PIUNet, a learned inverse solution for any head and montage.

    :func:`fit_piunet` also returns residual and explained variance, :func:`apply_piunet_epochs`
    and :func:`apply_piunet_raw` keep little in memory.

    Parameters
    ----------
    %(inst)s
    %(fwd_or_operator)s
    %(noise)s
    %(ori)s
    %(model)s
    %(backend)s
    %(batch_size)s
    %(n_jobs)s
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    %(stc_of_inst)s

    Examples
    --------
    >>> stc = apply_piunet(evoked, forward, noise_cov)  # doctest: +SKIP
    """
    return fit_piunet(
        evoked, forward, noise_cov, pick_ori=pick_ori, model=model, backend=backend,
        batch_size=batch_size, n_jobs=n_jobs, rank=rank,
    ).stc  # fmt: skip


@verbose
@fill_doc
def apply_piunet_epochs(
    epochs: mne.BaseEpochs,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    return_generator: bool = False,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int = 16,
    n_jobs: int | None = None,
    rank: dict | str | None = None,
    verbose=None,
) -> list[Estimate] | Iterator[Estimate]:
    """Estimate the sources of each epoch by 3D-PIUNet.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        The epochs. Those on disk are read one after the other.
    %(fwd_or_operator)s
    %(noise)s
    return_generator : bool
        Return a generator in the place of a list. It holds one estimate at a time in memory.
    %(ori)s
    %(model)s
    %(backend)s
    %(batch_size)s
    %(n_jobs)s
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    stcs : list of SourceEstimate | generator
        One estimate (A m) for each epoch.

    See Also
    --------
    apply_piunet : For Evoked, and for Epochs as a list.
    """
    if not isinstance(epochs, mne.BaseEpochs):
        raise TypeError(
            f"epochs must be mne.Epochs, got {type(epochs).__name__}: use apply_piunet or "
            "apply_piunet_raw."
        )
    run = dict(batch_size=batch_size, n_jobs=n_jobs)
    prepared = dict(noise_cov=noise_cov, model=model, backend=backend, rank=rank)
    (epochs,) = insts = own_instances(epochs)
    operator = _prepare(insts, forward, pick_ori, run, prepared)
    operator.problem.check_fits(insts)
    problems = _whitened(operator.problem, epochs)
    if return_generator:
        return _stcs(operator, problems, pick_ori, run)
    with _bar(len(epochs) * len(epochs.times)) as bar:
        return list(_stcs(operator, problems, pick_ori, run | {"on_batch": bar.update}))


@verbose
@fill_doc
def apply_piunet_raw(
    raw: mne.io.BaseRaw,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    start: int | None = None,
    stop: int | None = None,
    buffer_size: int = 1000,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int = 16,
    n_jobs: int | None = None,
    rank: dict | str | None = None,
    verbose=None,
) -> Estimate:
    """Estimate the sources of continuous data by 3D-PIUNet.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The data. Those on disk are read buffer by buffer.
    %(fwd_or_operator)s
    %(noise)s
    start, stop : int | None
        First sample, and the sample after the last, counted from the beginning of `raw`.
    buffer_size : int
        Number of samples that are read and solved at a time. The estimate does not depend on it.
    %(ori)s
    %(model)s
    %(backend)s
    %(batch_size)s
    %(n_jobs)s
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    stc : SourceEstimate
        Estimate in A m.

    See Also
    --------
    apply_piunet : For Evoked.
    """
    if not isinstance(raw, mne.io.BaseRaw):
        raise TypeError(f"raw must be mne.io.Raw, got {type(raw).__name__}: use apply_piunet.")
    first, last = samples_between(raw, start, stop)
    _check_count("buffer_size", buffer_size)
    run = dict(batch_size=batch_size, n_jobs=n_jobs)
    prepared = dict(noise_cov=noise_cov, model=model, backend=backend, rank=rank)
    span = dict(start=first, stop=last)
    operator = _prepare((raw,), forward, pick_ori, run, prepared, **span)
    operator.problem.check_fits((raw,), **span)
    problems = _whitened(operator.problem, raw, **span, size=buffer_size)
    with _bar(last - first) as bar:
        parts = list(_stcs(operator, problems, pick_ori, run | {"on_batch": bar.update}))
    whole = parts[0]
    data = np.concatenate([part.data for part in parts], axis=-1)
    return type(whole)(data, whole.vertices, whole.tmin, 1 / raw.info["sfreq"], whole.subject)


def _whitened(problem: InverseProblem, inst, **span) -> Iterator[tuple[InverseProblem, np.ndarray]]:
    """Problems of one epoch or one buffer of Raw, one after the other, and their good samples."""
    begin = span.get("start", 0)
    for data, good in pieces(inst, problem.info["ch_names"], **span):
        times = inst.times[begin : begin + data.shape[1]]
        yield replace(problem, data=(problem.whitener @ data)[np.newaxis], times=times), good
        if isinstance(inst, mne.io.BaseRaw):
            begin += len(times)


def _prepare(
    insts: tuple, forward, pick_ori: str | None, run: dict, prepared: dict, **span
) -> PIUNet:
    """Check options and data before anything takes long; prepare what is not an operator yet."""
    given = isinstance(forward, PIUNet)
    check_pick_ori(pick_ori, forward.problem.forward if given else forward)
    _check_count("batch_size", run["batch_size"])
    check_n_jobs(run["n_jobs"])
    if not given:
        infos = [inst.info for inst in insts]
        with mne.use_log_level("error"):  # what is no error is told by the preparation
            pass_gate(insts, infos, forward, prepared["noise_cov"], **span)
        info = infos[0].copy()
        info["bads"] = sorted({name for other in infos for name in other["bads"]})
        return make_piunet(info, forward, n_jobs=run["n_jobs"], **prepared)
    default = dict(noise_cov=None, model="default", backend="auto", rank=None)
    if ignored := [name for name, value in prepared.items() if value != default[name]]:
        warn(
            f"The operator was prepared with its own {', '.join(ignored)}, so what you pass is "
            "ignored: leave it out, or pass it to make_piunet and prepare another operator."
        )
    return forward


def _check_count(name: str, value: int) -> None:
    """Raise unless an argument is a positive whole number."""
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


_bar = partial(progress_bar, name="piunet", unit="sample")


def _estimates(
    operator: PIUNet, problem: InverseProblem, good: np.ndarray, run: dict, told: set
) -> Iterator[np.ndarray]:
    """Estimate the components of every trial; give each warning that is not among `told` once."""
    counts = naves(problem.insts) if problem.insts else [1.0]
    for data, nave in zip(problem.data, counts, strict=True):
        for text in operator.unlike_training(data[:, good], noise_power=1 / nave):
            if text not in told:
                warn(text)
            told.add(text)
        begin = perf_counter()
        found = operator.estimate(data, noise_power=1 / nave, **run)
        logger.debug("%d samples took %.2f s", data.shape[1], perf_counter() - begin)
        yield found


def _stcs(
    operator: PIUNet,
    problems: Iterable[tuple[InverseProblem, np.ndarray]],
    pick_ori: str | None,
    run: dict,
) -> Iterator:
    """Make the source estimate of every epoch or buffer."""
    std, told, too_large = operator.problem.std()[:, np.newaxis], set(), False
    for problem, good in problems:
        for found in _estimates(operator, problem, good, run, told):
            found *= std
            too_large = too_large or check_amplitudes([found], good)
            yield make_stc(problem, found, pick_ori=pick_ori)


@fill_doc
def check_settings(
    *,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int = 16,
    n_jobs: int | None = None,
    rank: dict | str | None = None,
) -> None:
    """Raise if an option has no meaning, whatever the data.

    Parameters
    ----------
    %(ori)s
    %(model)s
    %(backend)s
    %(batch_size)s
    %(n_jobs)s
    rank : dict | str | None
        Not checked: it depends on the data.
    """
    check_pick_ori_name(pick_ori)
    _check_count("batch_size", batch_size)
    check_n_jobs(n_jobs)
    load_piunet(model)
    find_backend(backend)


SOLVER = Solver(
    name="piunet",
    fit=fit_piunet,
    check=check_settings,
    description="Learned correction of what physics finds (3D-PIUNet)",
    needs=("torch", "onnxruntime"),
)
