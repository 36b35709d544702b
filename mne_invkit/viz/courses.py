"""Time courses of the strongest sources."""

from __future__ import annotations

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.figure import Figure

from mne_invkit.inverse.stc import Estimate, dense_data, kind_of
from mne_invkit.viz.findings import NO_SOURCE, describe_peak, drawn_unit
from mne_invkit.viz.snapshot import Snapshot

_N_SOURCES = 5


def plot_time_courses(
    stc: Estimate, src: mne.SourceSpaces, snapshot: Snapshot, unit: str = "A m"
) -> Figure:
    """Draw the time courses of the sources that are strongest at one time.

    Parameters
    ----------
    stc : source estimate
        Any of the six classes of MNE. Of vectors the lengths are drawn, and scalars as they are.
    src : mne.SourceSpaces
        Its source space.
    snapshot : Snapshot
        The estimate at the time that decides. The sources are at least 20 mm apart.
    unit : str
        Unit of the estimate.

    Returns
    -------
    fig : matplotlib.figure.Figure
        A line for each source, named by its position and, where it is known, its region.
    """
    factor, drawn = drawn_unit(unit)
    rows = _rows(stc.magnitude() if stc.data.ndim == 3 else stc, src)
    fig, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    peaks = snapshot.peaks(_N_SOURCES)
    for peak in peaks:
        words = describe_peak(peak, unit)
        label = ", ".join(words[key] for key in ("Position", "Region") if key in words)
        ax.plot(1e3 * stc.times, factor * rows[peak.row], lw=1.5, label=label)
    ax.axvline(1e3 * snapshot.time, color="gray", lw=1, zorder=0)
    ax.set(xlabel="Time (ms)", ylabel=f"Amplitude ({drawn})", title="" if peaks else NO_SOURCE)
    ax.spines[["top", "right"]].set_visible(False)
    if peaks:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2), fontsize=8, frameon=False)
    return fig


def _rows(stc, src) -> np.ndarray:
    """Values of the locations of a snapshot, shape (n_locations, n_times)."""
    if kind_of(stc) == "surface":
        return stc.data
    if kind_of(stc) == "volume":
        return dense_data(stc, src)
    return np.concatenate([stc.surface().data, dense_data(stc.volume(), src[2:])])
