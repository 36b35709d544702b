"""The data: what a solver takes, with copies of its own, and their values piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real

import mne
import numpy as np

from mne_invkit._mne import bad_spans

_PIECE = 10_000  # samples of Raw in memory at a time


def check_instances(inst: object) -> tuple:
    """Return the data as a tuple of one Epochs or Raw, or of one or more Evokeds."""
    if isinstance(inst, (mne.Evoked, mne.BaseEpochs, mne.io.BaseRaw)):
        insts = (inst,)
    elif isinstance(inst, (list, tuple)) and inst and all(isinstance(i, mne.Evoked) for i in inst):
        insts = tuple(inst)
    else:
        raise TypeError(
            "The data must be an Evoked, a non-empty list of Evoked, Epochs or Raw; got "
            f"{type(inst).__name__}. Average epochs with epochs.average()."
        )
    first = insts[0]
    for inst in insts:
        if isinstance(inst, mne.Evoked):
            _check_average(inst)
        if inst.ch_names != first.ch_names:
            raise ValueError(
                "The Evokeds have different channels: bring them together with "
                "mne.channels.equalize_channels(evokeds)."
            )
        if inst.get_channel_types() != first.get_channel_types():
            raise ValueError(
                "The Evokeds have channels of different types: give them the same with "
                "evoked.set_channel_types."
            )
        if len(inst.times) != len(first.times) or not np.allclose(inst.times, first.times):
            raise ValueError(
                "The Evokeds have different times: crop or resample them to the same with "
                "evoked.crop(tmin, tmax) and evoked.resample(sfreq)."
            )
    return insts


def _check_average(evoked: mne.Evoked) -> None:
    """Is it an average, of a number of trials that scales the noise."""
    if evoked.kind != "average":
        raise ValueError(
            f"The Evoked {evoked.comment!r} is a {evoked.kind.replace('_', ' ')} and not an "
            "average: pass epochs.average(), or the entry of the file whose kind is average."
        )
    if not (isinstance(evoked.nave, Real) and np.isfinite(evoked.nave) and evoked.nave > 0):
        raise ValueError(
            f"The Evoked {evoked.comment!r} has nave={evoked.nave!r}, by which the noise "
            "covariance is divided: set evoked.nave to the number of trials averaged (files keep "
            "whole numbers, so the nave of a weighted average is lost in them)."
        )


def samples_between(raw: mne.io.BaseRaw, start: int | None, stop: int | None) -> tuple[int, int]:
    """First sample of a part of Raw, and the one after its last."""
    for name, value in (("start", start), ("stop", stop)):
        if value is not None and not isinstance(value, (int, np.integer)):
            raise ValueError(
                f"{name} must be a whole number of samples or None, got {value!r}: "
                "raw.time_as_index(seconds)[0] gives that of a time."
            )
    first, last, _ = slice(start, stop).indices(len(raw.times))
    if first >= last:
        raise ValueError(f"There is no sample from {start} to {stop}: raw has {len(raw.times)}.")
    return first, last


def own_instances(inst: object) -> tuple:
    """Copies of the data, without bad epochs: the user's own objects stay as they are."""
    insts = tuple(inst.copy() for inst in check_instances(inst))
    for inst in insts:
        if isinstance(inst, mne.BaseEpochs):
            inst.drop_bad(verbose="error")
            if len(inst) == 0:
                raise ValueError("The Epochs hold no event: all were dropped, see epochs.drop_log.")
    return insts


def pick_loaded(insts: tuple, names: list[str]) -> tuple:
    """Keep the channels used of data in memory; those on disk stay there."""
    return tuple(
        inst.pick(names, verbose="error") if getattr(inst, "preload", True) else inst
        for inst in insts
    )


def naves(insts: tuple) -> list[float]:
    """Number of trials averaged, of each Evoked or epoch."""
    if isinstance(insts[0], mne.Evoked):
        return [float(inst.nave) for inst in insts]
    return [1.0] * (len(insts[0]) if isinstance(insts[0], mne.BaseEpochs) else 1)


def good_samples(
    inst: mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw,
) -> np.ndarray:
    """Which samples are outside of segments that annotations call bad.

    Parameters
    ----------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data. Only Raw has annotations that count.

    Returns
    -------
    good : ndarray of bool, shape (n_times,)
        True for good samples.
    """
    good = np.ones(len(inst.times), bool)
    if isinstance(inst, mne.io.BaseRaw):
        for start, stop in bad_spans(inst):
            good[start:stop] = False
        if not good.any():
            raise ValueError(
                "Annotations call all of the recording bad: see raw.annotations, and remove those "
                "that are wrong with raw.annotations.delete."
            )
    return good


def pieces(
    inst: mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw,
    ch_names: list[str],
    *,
    start: int = 0,
    stop: int | None = None,
    size: int = _PIECE,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read data piece by piece, so that those on disk never fill the memory.

    Parameters
    ----------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data.
    ch_names : list of str
        Channels to read.
    start, stop : int | None
        First sample of Raw, and the sample after the last.
    size : int
        Number of samples of a piece of Raw.

    Yields
    ------
    data : ndarray, shape (n_channels, n_times)
        An Evoked, an epoch, or a piece of Raw. Values of bad segments that are not finite are zero.
    good : ndarray of bool, shape (n_times,)
        Which samples are good.
    """
    if isinstance(inst, mne.io.BaseRaw):
        good = good_samples(inst)
        stop = len(good) if stop is None else stop
        for begin in range(start, stop, size):
            part = slice(begin, min(begin + size, stop))
            data = inst.get_data(picks=ch_names, start=part.start, stop=part.stop)
            data[~np.isfinite(data) & ~good[part]] = 0
            yield data, good[part]
    else:
        good = good_samples(inst)
        rows = [inst.ch_names.index(name) for name in ch_names]
        for data in [inst.data] if isinstance(inst, mne.Evoked) else inst:
            yield data[rows], good


def get_data(insts: tuple, ch_names: list[str]) -> np.ndarray:
    """Data of the channels used, shape (n_trials, n_channels, n_times)."""
    if isinstance(insts[0], mne.io.BaseRaw):
        ((data, _),) = pieces(insts[0], ch_names, size=len(insts[0].times))
        return data[np.newaxis]
    return np.stack([data for inst in insts for data, _ in pieces(inst, ch_names)])
