"""Figures of what was learned."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def plot_temporal_covariance(covariance: np.ndarray, times: np.ndarray) -> Figure:
    """Draw a temporal covariance and the correlation over lags.

    Parameters
    ----------
    covariance : ndarray, shape (n_times, n_times)
        The covariance.
    times : ndarray, shape (n_times,)
        Times in seconds.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The covariance as an image, and the mean correlation over lags.
    """
    ms = 1e3 * np.asarray(times)
    std = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(std, std)
    lags = [np.diagonal(correlation, k).mean() for k in range(len(ms))]
    fig, (image, line) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    bound = np.abs(covariance).max()
    shown = image.imshow(
        covariance, cmap="RdBu_r", vmin=-bound, vmax=bound, origin="lower",
        extent=(ms[0], ms[-1], ms[0], ms[-1]),
    )  # fmt: skip
    image.set(xlabel="Time (ms)", ylabel="Time (ms)", title="Temporal covariance")
    fig.colorbar(shown, ax=image, shrink=0.8, label="Covariance (relative)")
    line.axhline(0, color="gray", lw=0.8)
    line.plot(ms - ms[0], lags, color="#dd3a1d")
    line.set(xlabel="Lag (ms)", ylabel="Mean correlation", ylim=(-1.05, 1.05))
    line.spines[["top", "right"]].set_visible(False)
    return fig
