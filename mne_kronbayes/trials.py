"""Trials and continuous data, solved jointly and returned one estimate at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import mne
import numpy as np
from mne.utils import fill_doc, verbose

from mne_invkit.inverse.priors import check_pick_ori
from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.inverse.stc import make_stc
from mne_kronbayes.apply import fit_kron_bayes, learn


@fill_doc
@verbose
def apply_kron_bayes_epochs(
    epochs: mne.BaseEpochs,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    average: bool = False,
    return_generator: bool = False,
    temporal: str = "toeplitz",
    noise: str = "diagonal",
    noise_temporal: str | np.ndarray | mne.BaseEpochs = "shared",
    learn_orient: bool = False,
    occam: float = 1.0,
    select: bool = False,
    loose: float | str | dict = "auto",
    depth: float | dict | None = 0.8,
    max_iter: int = 200,
    tol: float = 1e-5,
    sparse: bool = False,
    rank: dict | str | None = None,
    pick_ori: str | None = None,
    verbose=None,
) -> list | Iterator:
    """Estimate the sources of each epoch, learning from all epochs together.

    All epochs share active sources, temporal covariance and noise.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        The epochs.
    forward : mne.Forward
        Forward solution of any source space.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    average : bool
        Estimate the sources of the average epoch alone (for magnitudes, those of its vectors).
    return_generator : bool
        Return a generator, which keeps one estimate at a time in memory, and not a list.
    temporal, noise, noise_temporal : object
        Temporal covariance, noise model and temporal covariance of the noise, as for
        :func:`fit_kron_bayes`.
    learn_orient : bool
        Learn the orientation of each active source, unless `loose` fixes it.
    occam : float
        How often sources pay for what they could explain: 1 is the paper's likelihood, more is a
        guard against errors of the head model.
    select : bool
        Keep only sources that the evidence pays for.
    %(loose)s
    depth : float | dict | None
        Depth weighting.
    max_iter : int
        At most so many sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term.
    sparse : bool
        Return only the active sources.
    %(rank_none)s
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    %(verbose)s

    Returns
    -------
    stcs : list of SourceEstimate | generator
        One estimate (A m) for each epoch; with `average`, the one of their average.

    See Also
    --------
    fit_kron_bayes : Also returns what was learned.
    apply_kron_bayes_raw : For continuous data.

    Notes
    -----
    Besides the epochs themselves, memory holds the active sources of one epoch at a time, so it
    does not grow with sources x times x epochs unless a list is asked for.

    Examples
    --------
    >>> stcs = apply_kron_bayes_epochs(epochs, forward, noise_cov)  # doctest: +SKIP
    """
    if not isinstance(epochs, mne.BaseEpochs):
        raise TypeError(
            f"epochs must be mne.Epochs, got {type(epochs).__name__}: use apply_kron_bayes or "
            "apply_kron_bayes_raw."
        )
    result = fit_kron_bayes(
        epochs, forward, noise_cov, temporal=temporal, noise=noise, noise_temporal=noise_temporal,
        learn_orient=learn_orient, occam=occam, select=select, loose=loose, depth=depth,
        max_iter=max_iter, tol=tol, sparse=sparse, rank=rank, pick_ori=pick_ori,
    )  # fmt: skip
    stcs = iter([result.average()]) if average else result.estimates()
    return stcs if return_generator else list(stcs)


@fill_doc
@verbose
def apply_kron_bayes_raw(
    raw: mne.io.BaseRaw,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    start: int | None = None,
    stop: int | None = None,
    buffer_size: int = 1000,
    temporal: str = "toeplitz",
    noise: str = "diagonal",
    noise_temporal: str | np.ndarray | mne.BaseEpochs = "shared",
    learn_orient: bool = False,
    occam: float = 1.0,
    select: bool = False,
    loose: float | str | dict = "auto",
    depth: float | dict | None = 0.8,
    max_iter: int = 200,
    tol: float = 1e-5,
    sparse: bool = False,
    rank: dict | str | None = None,
    pick_ori: str | None = None,
    verbose=None,
):
    """Estimate the sources of continuous data, learning from all windows together.

    The recording is cut into windows of `buffer_size` samples, which are treated as trials:
    they share active sources, temporal covariance and noise.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The data.
    forward : mne.Forward
        Forward solution of any source space.
    noise_cov : mne.Covariance | None
        Noise covariance. None takes an ad hoc one, for a single sensor type.
    start, stop : int | None
        First sample, and the one after the last, from the beginning of `raw`.
    buffer_size : int
        Samples of a window, the longest lag that the temporal covariance spans.
    temporal, noise, noise_temporal : object
        Temporal covariance, noise model and temporal covariance of the noise, as for
        :func:`fit_kron_bayes`.
    learn_orient : bool
        Learn the orientation of each active source, unless `loose` fixes it.
    occam : float
        How often sources pay for what they could explain: 1 is the paper's likelihood, more is a
        guard against errors of the head model.
    select : bool
        Keep only sources that the evidence pays for.
    %(loose)s
    depth : float | dict | None
        Depth weighting.
    max_iter : int
        At most so many sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term.
    sparse : bool
        Return only the active sources.
    %(rank_none)s
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    %(verbose)s

    Returns
    -------
    stc : SourceEstimate
        Estimate (A m) of the whole.

    See Also
    --------
    apply_kron_bayes_epochs : For epochs.

    Examples
    --------
    >>> stc = apply_kron_bayes_raw(raw, forward, noise_cov, stop=6000)  # doctest: +SKIP
    """
    if not isinstance(raw, mne.io.BaseRaw):
        raise TypeError(f"raw must be mne.io.Raw, got {type(raw).__name__}: use apply_kron_bayes.")
    first, last, _ = slice(start, stop).indices(len(raw.times))
    if first >= last:
        raise ValueError(f"There is no sample from {start} to {stop}: raw has {len(raw.times)}.")
    if buffer_size < 2:
        raise ValueError(f"buffer_size must be at least 2, got {buffer_size}.")
    part = raw.copy().crop(raw.times[first], raw.times[last - 1])
    problem = prepare_problem(part, forward, noise_cov, loose=loose, depth=depth, rank=rank)
    check_pick_ori(pick_ori, problem.forward)
    problem = replace(problem, times=raw.times[first:last])
    data = problem.data[0]
    size = min(buffer_size, last - first)
    starts = np.arange(0, last - first - size + 1, size)
    windows = np.stack([data[:, begin : begin + size] for begin in starts])
    learned = learn(
        windows, problem, temporal=temporal, noise=noise, noise_temporal=noise_temporal,
        learn_orient=learn_orient, occam=occam, select=select, max_iter=max_iter, tol=tol,
    )  # fmt: skip
    sources = np.empty((problem.n_orient * len(learned.active), last - first))
    for begin in [last - first - size, *starts]:  # the first fills what is left at the end
        window = slice(begin, begin + size)
        sources[:, window] = learned.posterior.mean(data[:, window])
    std = problem.source_std.reshape(-1, problem.n_orient)[learned.active].ravel()
    return make_stc(
        problem, std[:, None] * sources, pick_ori=pick_ori, sparse=sparse, active=learned.active
    )
