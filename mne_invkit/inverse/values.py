"""Are the values of data, noise covariance and estimates what sensors and brains can have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import mne
import numpy as np
from mne.utils import warn

from mne_invkit.inverse.instances import pieces

_LONG = 10  # samples in which every sensor that works varies, quantized ones included
_PLAUSIBLE = {  # name, unit, standard deviation over time: lowest, typical, highest
    "eeg": ("EEG", "V", 1e-10, 1e-5, 5e-3),
    "mag": ("Magnetometers", "T", 1e-17, 1e-13, 1e-7),
    "grad": ("Gradiometers", "T/m", 1e-16, 1e-11, 1e-6),
}
_LOUD = 100.0  # times the median standard deviation of the channels of a type
_STRONGEST = 1e-6  # A m, more than any cortex can do


@dataclass
class Survey:
    """What was seen of data that may be too many to hold, all trials together.

    Attributes
    ----------
    n_samples : int
        Number of good samples.
    lowest, highest : ndarray, shape (n_channels,)
        Smallest and largest value of each channel.
    std : ndarray, shape (n_channels,)
        Standard deviation over time of each channel.
    eeg_mean : float
        Largest magnitude of the mean over the EEG channels.
    eeg_std : float
        Standard deviation of the EEG over channels and time.
    """

    n_samples: int
    lowest: np.ndarray
    highest: np.ndarray
    std: np.ndarray
    eeg_mean: float
    eeg_std: float


def survey_data(insts: tuple, info: mne.Info, **span: int | None) -> Survey:
    """Look at all data once, before anything takes long.

    Parameters
    ----------
    insts : tuple of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data.
    info : mne.Info
        The channels used.
    **span
        Part of Raw to look at, as in :func:`mne_invkit.inverse.instances.pieces`.

    Returns
    -------
    survey : Survey
        What was seen.

    Raises
    ------
    ValueError
        If values are masked, complex, or not finite.
    """
    names = np.array(info["ch_names"])
    eeg = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    lowest, highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    total, squares, first = np.zeros(len(names)), np.zeros(len(names)), None
    n_samples, eeg_mean, eeg_total, eeg_squares = 0, 0.0, 0.0, 0.0
    for inst in insts:
        for data, good in pieces(inst, list(names), **span):
            _check_kind(data)
            data = data[:, good]
            if not data.shape[1]:
                continue
            _check_finite(data, names)
            first = data[:, :1] if first is None else first  # offsets must not drown what varies
            lowest = np.minimum(lowest, data.min(axis=1))
            highest = np.maximum(highest, data.max(axis=1))
            total += np.sum(data - first, axis=1)
            squares += np.sum((data - first) ** 2, axis=1)
            n_samples += data.shape[1]
            if len(eeg):
                eeg_mean = max(eeg_mean, np.abs(data[eeg].mean(axis=0)).max())
                eeg_total += data[eeg].sum()
                eeg_squares += np.sum(data[eeg] ** 2)
    if not n_samples:
        raise ValueError(
            "Annotations call all of this part of the recording bad: pass another start and stop."
        )
    std = np.sqrt(np.maximum(squares / n_samples - (total / n_samples) ** 2, 0))
    n_eeg = max(len(eeg) * n_samples, 1)
    eeg_std = np.sqrt(max(eeg_squares / n_eeg - (eeg_total / n_eeg) ** 2, 0))
    return Survey(n_samples, lowest, highest, std, eeg_mean, eeg_std)


def _check_kind(data: np.ndarray) -> None:
    """Raise if values are complex, masked, or no numbers."""
    if np.ma.isMaskedArray(data):
        raise ValueError(
            "The data are a masked array, whose mask would be lost: fill it with "
            "inst.data.filled(...), and mark bad channels in inst.info['bads']."
        )
    if np.iscomplexobj(data):
        raise ValueError(
            "The data are complex, as after a Hilbert transform: estimate the sources first and "
            "transform their time courses, or pass a list of two Evokeds with the real and the "
            "imaginary part."
        )
    if data.dtype.kind not in "fiu":
        raise ValueError(
            f"The data are of the type {data.dtype}, not real numbers: convert them with "
            "inst.data = inst.data.astype(float)."
        )


def _check_finite(data: np.ndarray, names: np.ndarray) -> None:
    """Raise if values are not finite."""
    bad = ~np.isfinite(data).all(axis=1)
    if bad.any():
        raise ValueError(
            f"The data of {some(names[bad])} are not finite (NaN or infinite): mark these "
            "channels as bad in inst.info['bads'], drop the epochs that hold them, or annotate "
            'the segment of raw as "bad".'
        )


def check_survey(survey: Survey, info: mne.Info) -> None:
    """Raise if some channels do not vary while others do, and warn of a wrong unit.

    Parameters
    ----------
    survey : Survey
        What was seen of the data. Fewer than ten samples are too few to call a channel flat.
    info : mne.Info
        The channels used.
    """
    names = np.array(info["ch_names"])
    flat = survey.lowest == survey.highest
    if flat.all() and not survey.highest.any():
        raise ValueError("The data are zero on all channels used: there is nothing to explain.")
    if flat.any() and not flat.all() and survey.n_samples >= _LONG:
        flat = [str(name) for name in names[flat]]
        raise ValueError(
            f"Some channels are flat ({some(flat)}): mark them as bad, "
            f"inst.info['bads'] += {flat if len(flat) < 6 else '[...]'}, interpolate them, "
            "or, if one is the reference electrode, call inst.apply_proj() before."
        )
    types = np.array(info.get_channel_types())
    for kind in sorted(set(types)):
        own = types == kind
        middle = np.median(survey.std[own])
        loud = names[own & (survey.std > _LOUD * middle)] if middle else []
        if len(loud):
            warn(
                f"{some(loud)} vary more than {_LOUD:g} times as much as most {kind} channels: "
                "mark them as bad in inst.info['bads'], or scale them."
            )
    for name, unit, typical, std in _implausible(info, survey.std):
        warn(
            f"{name} data vary by {std:.1e} {unit} (median over channels), while {typical:.0e} "
            f"{unit} is usual, so the estimates will be as wrong as the unit. MNE's unit is "
            f"{unit}: scale the data, for instance by inst.apply_function(lambda x: 1e-6 * x) if "
            "they are in uV."
        )


def _implausible(info: mne.Info, std: np.ndarray):
    """Types of sensors whose values no sensor of theirs has: name, unit, usual, found."""
    types = np.array(info.get_channel_types())
    for kind, (name, unit, low, typical, high) in _PLAUSIBLE.items():
        some_std = std[types == kind]
        middle = np.median(some_std) if len(some_std) else 0
        if middle and not low < middle < high:
            yield name, unit, typical, middle


def check_amplitudes(amplitudes: Iterable[np.ndarray], good: np.ndarray) -> bool:
    """Warn of amplitudes that no brain has.

    Parameters
    ----------
    amplitudes : iterable of ndarray, shape (n_components, n_times)
        Amplitudes (A m) of each trial.
    good : ndarray of bool, shape (n_times,)
        Samples outside of bad segments.

    Returns
    -------
    warned : bool
        Whether the strongest is too large.
    """
    strongest = max((np.abs(part[:, good]).max(initial=0) for part in amplitudes), default=0)
    too_large = bool(strongest > _STRONGEST)
    if too_large:
        warn(
            f"The strongest source has {strongest:.1e} A m, while brains have 1e-8 A m: check "
            "that the data are in V, T or T/m, that the baseline is corrected "
            "(evoked.apply_baseline((None, 0))), and that forward solution and noise_cov belong to "
            "them."
        )
    return too_large


def check_rank(rank: object) -> None:
    """Is it a rank as MNE takes it.

    Parameters
    ----------
    rank : None | "info" | "full" | dict
        What the user passes.
    """
    if rank is None or (isinstance(rank, str) and rank in ("info", "full")):
        return
    if not isinstance(rank, dict) or not all(
        isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 0
        for value in rank.values()
    ):
        raise ValueError(
            'rank must be None, "info", "full", or a dict from channel types to whole numbers such '
            f"as dict(eeg=60), got {rank!r}."
        )


def rank_of_types(rank: object, info: mne.Info) -> dict | str | None:
    """Return the rank with the types of sensors used, as MNE names them there.

    Parameters
    ----------
    rank : None | "info" | "full" | dict
        What the user passes. A dict may hold types that are not used, such as those of the whole
        recording.
    info : mne.Info
        The channels used.

    Returns
    -------
    rank : None | "info" | "full" | dict
        The same; a dict is a copy, since MNE writes to it.
    """
    if not isinstance(rank, dict):
        return rank
    unknown = sorted(map(str, set(rank).difference(mne.io.get_channel_type_constants(), {"meg"})))
    if unknown:
        raise ValueError(
            f"rank has the keys {unknown}, which are no channel types: use eeg or meg."
        )
    types = set(info.get_channel_types(unique=True))
    meg = types.intersection(["mag", "grad"])
    if len(meg) == 2 and meg.issubset(rank):
        rank = {**rank, "meg": rank["mag"] + rank["grad"]}  # which MNE counts together
    elif len(meg) == 2 and meg.intersection(rank):
        raise ValueError(
            f"rank={rank} lacks one of magnetometers and gradiometers: pass both, or their sum, "
            "rank=dict(meg=...)."
        )
    joint = {"meg"} if len(meg) == 2 else meg
    used = {kind: value for kind, value in rank.items() if kind in types.difference(meg) | joint}
    if len(meg) == 1 and "meg" in rank:
        used.setdefault(*meg, rank["meg"])
    return used


def check_covariance(
    noise_cov: mne.Covariance, info: mne.Info, rank: dict | str | None, *, nave: float = 1
) -> None:
    """Is it a covariance of noise, of the rank that is used and of the rank that is possible.

    Parameters
    ----------
    noise_cov : mne.Covariance
        The noise covariance.
    info : mne.Info
        The channels used.
    rank : None | "info" | "full" | dict
        As in MNE.
    nave : float
        Number of averages by which it was divided.
    """
    picked = noise_cov.copy().pick_channels(info["ch_names"], ordered=True, verbose="error")
    data = np.diag(picked["data"]) if picked["diag"] else picked["data"]
    bad = ~np.isfinite(data)
    if bad.any():  # a channel whose row is bad throughout, or all that have a bad entry
        rows = bad.all(axis=1) if bad.all(axis=1).any() else bad.any(axis=1)
        raise ValueError(
            f"The noise covariance of {some(np.array(info['ch_names'])[rows])} is not finite (NaN "
            "or infinite): mark these channels as bad in inst.info['bads'], or estimate it again "
            "without the segments that hold NaN, mne.compute_covariance(epochs, tmax=0)."
        )
    if not np.any(data):
        raise ValueError(
            "The noise covariance is zero: estimate it from a baseline with "
            "mne.compute_covariance(epochs, tmax=0), or use mne.make_ad_hoc_cov(info)."
        )
    variance = np.diag(data)
    if not np.allclose(data, data.T, rtol=0, atol=1e-6 * np.abs(data).max()):
        raise ValueError("The noise covariance is not symmetric: it is not one of MNE's.")
    if variance.min() < 0:
        raise ValueError("The noise covariance has negative variances: it is not a covariance.")
    scale = np.sqrt(np.where(variance > 0, variance, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        correlation = data / scale / scale[:, np.newaxis]
    powers = np.linalg.eigvalsh(correlation) if np.isfinite(correlation).all() else [-1, 1]
    if powers[0] < -1e-5 * powers[-1]:
        raise ValueError(
            "The noise covariance is not positive semidefinite, so it is no covariance: estimate "
            "it with mne.compute_covariance(epochs, tmax=0, method='shrunk')."
        )
    if not variance.all():
        warn(
            f"The noise covariance is zero for {some(np.array(info['ch_names'])[variance == 0])}, "
            "which were flat or the reference when it was estimated, so these channels count as "
            "free of noise: mark them as bad in inst.info['bads'], or estimate it again with "
            "mne.compute_covariance(epochs, tmax=0)."
        )
    for name, unit, typical, std in _implausible(info, np.sqrt(nave * variance)):
        warn(
            f"{name} noise has a standard deviation of {std:.1e} {unit} in noise_cov, while "
            f"{typical:.0e} {unit} is usual: is it in the unit of the data ({unit}), and of single "
            "trials? Estimate it with mne.compute_covariance(epochs, tmax=0)."
        )
    estimated = mne.compute_rank(picked, rank=None, info=info, verbose="error")
    used = mne.compute_rank(picked, rank=rank, info=info, verbose="error")
    possible = mne.compute_rank(picked, rank="info", info=info, verbose="error")
    if used != estimated:
        warn(
            f"rank={rank!r} uses {used}, but the noise covariance has {estimated}: dimensions "
            "without noise power are amplified when whitening, and those beyond the rank are "
            "ignored. Pass rank=None to take the rank that it has."
        )
    short = {k: f"{used[k]} of {possible[k]}" for k in used if used[k] < 0.9 * possible[k]}
    if short:
        warn(
            f"The noise covariance spans only {short} dimensions; the rest of the data is "
            "ignored. Regularize it: mne.compute_covariance(..., method='shrunk'), or "
            "mne.cov.regularize(noise_cov, info, rank='info')."
        )
    wide = {k: f"{used[k]} for {possible[k]}" for k in used if used[k] > 1.1 * possible[k]}
    if wide:
        warn(
            f"The noise covariance has more dimensions than the data ({wide}), which were "
            "processed in another way (Maxwell filter?): estimate it from data processed alike, or "
            'pass rank="info".'
        )


def some(names: Iterable[str]) -> str:
    """Name the first few.

    Parameters
    ----------
    names : iterable of str
        Names of channels.

    Returns
    -------
    text : str
        Up to four of them in alphabetical order.
    """
    names = sorted(str(n) for n in names)
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
