"""Random montages: subsets of the sensors of a head, like those of laboratories."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import mne
import numpy as np

from mne_invkit._docs import fill_doc

if TYPE_CHECKING:
    from mne_invkit.population.head import Head

CAPS = ("ifcn25", "biosemi32", "biosemi64", "easycap-M1")
"""Caps whose electrodes bear names of the 10-10 system."""

_IFCN = "Fp1 Fp2 F9 F7 F3 Fz F4 F8 F10 T9 T7 C3 Cz C4 T8 T10 P9 P7 P3 Pz P4 P8 P10 O1 O2"
MIN_EEG, MAX_EEG = 24, 256
"""Smallest and largest number of electrodes in a montage."""
MIN_MEG = 60
"""Smallest number of MEG channels in a montage."""


@cache
def cap_names(cap: str) -> tuple[str, ...]:
    """Names of the electrodes of one of the ``CAPS``."""
    if cap == "ifcn25":
        return tuple(_IFCN.split())
    return tuple(mne.channels.make_standard_montage(cap).ch_names)


def farthest_points(positions: np.ndarray, n: int, first: int) -> np.ndarray:
    """Choose points that lie far from each other.

    Parameters
    ----------
    positions : ndarray, shape (n_points, 3)
        The points.
    n : int
        Number of points to choose.
    first : int
        Index of the first point.

    Returns
    -------
    chosen : ndarray of int, shape (n,)
        Indices of the points, each the farthest from those chosen before.
    """
    chosen = [first]
    distance = np.linalg.norm(positions - positions[first], axis=1)
    while len(chosen) < n:
        chosen.append(int(distance.argmax()))
        nearer = np.linalg.norm(positions - positions[chosen[-1]], axis=1)
        distance = np.minimum(distance, nearer)
    return np.array(chosen)


@fill_doc
def draw_montage(head: Head, rng: np.random.Generator) -> np.ndarray:
    """Draw a montage: some of the sensors of a head.

    Parameters
    ----------
    head : Head
        The head.
    %(generator)s

    Returns
    -------
    rows : ndarray of int, shape (n_channels,)
        Indices of sensors, ascending. A montage of EEG has 24 to 256 electrodes: those of a cap of
        the 10-20 or 10-10 system, or evenly spread ones. Some of them lack a group of neighbors.
        On a head with MEG it has electrodes, 60 to 306 magnetometers and gradiometers, or both.
    """
    if (head.kinds == "eeg").all():
        return _draw_cap(head, rng)
    parts = rng.choice(["eeg", "meg", "both"])
    rows = []
    if parts != "meg":
        rows.append(_draw_cap(head, rng))
    if parts != "eeg":
        rows.append(_draw_array(head, rng))
    return np.concatenate(rows)


def _draw_cap(head, rng) -> np.ndarray:
    """Indices of electrodes."""
    eeg = np.flatnonzero(head.kinds == "eeg")
    if rng.random() < 0.4:
        cap = str(rng.choice(CAPS))
        rows = eeg[np.isin(head.names[eeg], cap_names(cap))]
    else:
        height = head.sensors[eeg, 2]  # caps differ in how far down they reach
        eeg = eeg[height >= np.quantile(height, rng.uniform(0, 0.3))]
        n = min(_log_integer(rng, MIN_EEG, MAX_EEG), len(eeg))
        rows = eeg[farthest_points(head.sensors[eeg], n, int(rng.integers(len(eeg))))]
    if rng.random() < 0.3:
        rows = _without_neighbors(head, rows, min(len(rows) // 5, len(rows) - MIN_EEG), rng)
    return np.sort(rows)


def _draw_array(head, rng) -> np.ndarray:
    """Indices of MEG sensors: one or both kinds, at all sites or some."""
    mags = np.flatnonzero(head.kinds == "mag")
    grads = np.flatnonzero(head.kinds == "grad").reshape(2, -1)
    most = len(mags)
    kind = rng.choice(["mag", "grad", "both"]) if grads.size else "mag"
    least = {"mag": MIN_MEG, "grad": MIN_MEG // 2, "both": MIN_MEG // 3}[str(kind)]
    n = most if rng.random() < 0.5 else _log_integer(rng, least, most)
    sites = np.sort(farthest_points(head.sensors[mags], n, int(rng.integers(most))))
    parts = [] if kind == "grad" else [mags[sites]]
    if kind != "mag":
        parts += list(grads[:, sites])
    return np.concatenate(parts)


def _without_neighbors(head, rows, most, rng) -> np.ndarray:
    """Leave out a random sensor and its neighbors, up to `most` sensors in all."""
    if most < 1:
        return rows
    center = head.sensors[rng.choice(rows)]
    order = np.argsort(np.linalg.norm(head.sensors[rows] - center, axis=1))
    return rows[order[rng.integers(1, most + 1) :]]


def _log_integer(rng, low, high) -> int:
    """Draw an integer from `low` to `high`, both included, uniformly on a logarithmic scale."""
    return min(int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))), high)
