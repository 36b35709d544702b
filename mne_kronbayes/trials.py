"""Epochs and continuous data, solved jointly and returned one estimate at a time."""

from __future__ import annotations

from collections.abc import Iterator

import mne
import numpy as np
from mne.utils import verbose

from mne_invkit.inverse.instances import samples_between
from mne_invkit.inverse.stc import Estimate
from mne_kronbayes._docs import fill_doc
from mne_kronbayes.apply import fit_kron_bayes


@verbose
@fill_doc
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
) -> list[Estimate] | Iterator[Estimate]:
    """Estimate the sources of each epoch, learning from all epochs together.

    All epochs share sources, temporal covariance and noise.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        The epochs.
    %(fwd)s
    %(noise)s
    average : bool
        Estimate the sources of the average epoch alone (for magnitudes, those of its vectors).
    return_generator : bool
        Return a generator, which keeps one estimate at a time in memory, and not a list.
    %(temporal)s
    %(noise_model)s
    %(noise_temporal)s
    %(learn_orient)s
    %(occam)s
    %(select)s
    %(loose)s
    %(depth_sparse)s
    %(max_iter)s
    %(tol)s
    %(sparse)s
    %(rank_none)s
    %(ori)s
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
    Besides the epochs themselves, memory holds the sources of one epoch at a time, so it
    does not grow with locations x times x epochs unless a list is asked for.

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


@verbose
@fill_doc
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
) -> Estimate:
    """Estimate the sources of continuous data, learning from all windows together.

    The recording is cut into windows of `buffer_size` samples, which are treated as trials:
    they share sources, temporal covariance and noise.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The data.
    %(fwd)s
    %(noise)s
    start, stop : int | None
        First sample, and the one after the last, from the beginning of `raw`.
    %(buffer_size)s
    %(temporal)s
    %(noise_model)s
    %(noise_temporal)s
    %(learn_orient)s
    %(occam)s
    %(select)s
    %(loose)s
    %(depth_sparse)s
    %(max_iter)s
    %(tol)s
    %(sparse)s
    %(rank_none)s
    %(ori)s
    %(verbose)s

    Returns
    -------
    stc : SourceEstimate
        Estimate (A m) of the whole.

    See Also
    --------
    apply_kron_bayes : The same for the whole recording, and for other data.
    apply_kron_bayes_epochs : For epochs.

    Examples
    --------
    >>> stc = apply_kron_bayes_raw(raw, forward, noise_cov, stop=6000)  # doctest: +SKIP
    """
    if not isinstance(raw, mne.io.BaseRaw):
        raise TypeError(f"raw must be mne.io.Raw, got {type(raw).__name__}: use apply_kron_bayes.")
    first, last = samples_between(raw, start, stop)
    part = raw.copy().crop(raw.times[first], raw.times[last - 1])
    stc = fit_kron_bayes(
        part, forward, noise_cov, temporal=temporal, noise=noise, noise_temporal=noise_temporal,
        learn_orient=learn_orient, occam=occam, select=select, loose=loose, depth=depth,
        max_iter=max_iter, tol=tol, buffer_size=buffer_size, sparse=sparse, rank=rank,
        pick_ori=pick_ori,
    ).stc  # fmt: skip
    stc.tmin = raw.times[first]
    return stc
