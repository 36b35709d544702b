"""Recordings cut into windows, which are learned from as trials, and put together again."""

from __future__ import annotations

from collections.abc import Callable

import mne
import numpy as np

from mne_invkit.inverse.instances import good_samples
from mne_invkit.inverse.problem import InverseProblem


def learning_windows(problem: InverseProblem, buffer_size: int) -> np.ndarray:
    """Return the trials from which to learn, for Raw windows of its good segments.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem, with data.
    buffer_size : int
        Maximum number of samples of a window of Raw. Where no good segment is that long, a window
        has the length of the longest.

    Returns
    -------
    windows : ndarray, shape (n_trials, n_rank, n_times)
        Whitened data. Windows lie side by side in each good segment, and what is left at its end
        is left out.
    """
    inst = problem.insts[0]
    if not isinstance(inst, mne.io.BaseRaw):
        return problem.data
    stretches = _stretches(good_samples(inst))
    size = min(buffer_size, int(np.diff(stretches).max()))
    starts = [start for first, end in stretches for start in range(first, end - size + 1, size)]
    return np.stack([problem.data[0, :, start : start + size] for start in starts])


def _stretches(good: np.ndarray) -> np.ndarray:
    """First sample of each stretch of good samples, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return edges.reshape(-1, 2)


def join_windows(make: Callable[[slice], np.ndarray], n_times: int, size: int) -> np.ndarray:
    """Fill an array over time window by window.

    Parameters
    ----------
    make : callable
        Returns the values of a window, of shape (..., size), given its slice of the time axis.
    n_times : int
        Number of samples of the whole.
    size : int
        Number of samples of a window.

    Returns
    -------
    whole : ndarray, shape (..., n_times)
        The values. Those after the last whole window are from one that ends with the data.
    """
    parts = [make(slice(end - size, end)) for end in range(size, n_times + 1, size)]
    if rest := n_times % size:
        parts.append(make(slice(n_times - size, n_times))[..., -rest:])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
