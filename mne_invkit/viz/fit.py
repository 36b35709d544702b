"""Pictures of the convergence of a solver, and of its fit to the sensors."""

from __future__ import annotations

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.figure import Figure

_WIDTH = 9.0  # inches


def plot_convergence(trace) -> Figure:
    """Draw the cost of a solver against its iterations.

    Parameters
    ----------
    trace : array-like, shape (n_iterations,)
        Cost after each iteration.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The picture.
    """
    trace = np.asarray(trace, float)
    if trace.ndim != 1 or not len(trace):
        raise ValueError(f"trace must be a vector of costs, got the shape {trace.shape}.")
    fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    ax.plot(np.arange(1, len(trace) + 1), trace, ".-", color="#dd3a1d", lw=1.5, ms=5)
    ax.set(xlabel="Iteration", ylabel="Cost", title=f"Final cost {trace[-1]:.6g}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    return fig


def plot_sensor_fit(evoked: mne.Evoked, residual: mne.Evoked) -> Figure:
    """Draw the data, the part that the estimate explains, and the residual at the sensors.

    Parameters
    ----------
    evoked : mne.Evoked
        The data.
    residual : mne.Evoked
        What the estimate does not explain, at the same times. It may have fewer channels.

    Returns
    -------
    fig : matplotlib.figure.Figure
        For each type of channel, the three as time courses and as maps at the peak of the data.
        Channels without positions get no maps.
    """
    if residual.data.shape[1] != len(evoked.times):
        raise ValueError(
            f"residual has {residual.data.shape[1]} times and evoked {len(evoked.times)}: pass "
            "the evoked that the estimate was made from."
        )
    types = [t for t in ("mag", "grad", "eeg") if t in residual.get_channel_types()]
    fig, axes = plt.subplots(
        2 * len(types), 3, figsize=(_WIDTH, 4.2 * len(types)), layout="constrained",
        squeeze=False, gridspec_kw={"height_ratios": [1, 1] * len(types)},
    )  # fmt: skip
    for k, kind in enumerate(types):
        left = residual.copy().pick(kind, exclude=())
        data = evoked.copy().pick(left.ch_names).data
        _draw_fit(axes[2 * k : 2 * k + 2], left.info, evoked.times, data, left.data, kind)
    return fig


def _draw_fit(axes, info, times, data, residual, kind) -> None:
    """Draw one type of channel: time courses above, maps at the peak of the data below."""
    scale = mne.defaults.DEFAULTS["scalings"][kind]
    unit = mne.defaults.DEFAULTS["units"][kind]
    peak = int(np.linalg.norm(data, axis=0).argmax())
    power = (data**2).sum()
    explained = 100 * (1 - (residual**2).sum() / power) if power else 0.0
    names = (f"{kind.upper()} data", f"Explained, {explained:.1f} %", "Residual")
    bound = 1.05 * scale * np.abs(data).max() or 1.0
    locations = np.array([ch["loc"][:3] for ch in info["chs"]])
    located = np.isfinite(locations).all() and len(np.unique(locations, axis=0)) > 3
    for column, name, part in zip(axes.T, names, (data, data - residual, residual), strict=True):
        column[0].plot(1e3 * times, scale * part.T, color="black", lw=0.5, alpha=0.5)
        column[0].axvline(1e3 * times[peak], color="#dd3a1d", lw=1)
        column[0].set(title=name, xlabel="Time (ms)", ylim=(-bound, bound))
        column[0].spines[["top", "right"]].set_visible(False)
        if located:
            mne.viz.plot_topomap(
                scale * part[:, peak], info, axes=column[1], show=False, vlim=(-bound, bound)
            )
            column[1].set_title(f"{1e3 * times[peak]:.0f} ms", fontsize=9)
        else:
            column[1].axis("off")
    axes[0, 0].set_ylabel(unit)
