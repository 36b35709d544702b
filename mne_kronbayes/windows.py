"""Recordings cut into windows, which are learned from as trials, and put together again."""

from __future__ import annotations

from collections.abc import Callable

import mne
import numpy as np


def window_size(inst, n_times: int, buffer_size: int) -> int:
    """Return how many samples a trial has from which to learn.

    Parameters
    ----------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data. Only Raw is cut.
    n_times : int
        Number of samples of the data.
    buffer_size : int
        Number of samples of a window.

    Returns
    -------
    size : int
        Number of samples.
    """
    return min(buffer_size, n_times) if isinstance(inst, mne.io.BaseRaw) else n_times


def cut_windows(data: np.ndarray, size: int) -> np.ndarray:
    """Cut trials into windows; samples after the last whole window are left out.

    Parameters
    ----------
    data : ndarray, shape (n_trials, n_channels, n_times)
        The data.
    size : int
        Number of samples of a window.

    Returns
    -------
    windows : ndarray, shape (n_trials * n_windows, n_channels, size)
        The windows of the first trial, then those of the second, and so on.
    """
    n_trials, n_channels, n_times = data.shape
    windows = data[:, :, : n_times // size * size].reshape(n_trials, n_channels, -1, size)
    return windows.transpose(0, 2, 1, 3).reshape(-1, n_channels, size)


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
