"""Patches, time courses and noise as random arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import lfilter
from scipy.signal.windows import hann
from scipy.spatial.distance import cdist

from mne_invkit._docs import fill_doc

Rng = int | np.random.Generator | None

# %% Sources and patches


def gaussian_patches(positions: ArrayLike, centers: ArrayLike, extent: float) -> np.ndarray:
    """Weights of Gaussian patches.

    Parameters
    ----------
    positions : array-like, shape (n_locations, 3)
        Positions of the locations (m).
    centers : array-like of int, shape (n_patches,)
        Index of the location at the center of each patch.
    extent : float
        Standard deviation of the patches (m). A patch of extent 0 is its center alone.

    Returns
    -------
    weights : ndarray, shape (n_locations, n_patches)
        ``exp(-d ** 2 / (2 * extent ** 2))`` at the distance d from the center: 1 at the center,
        0 beyond three standard deviations.
    """
    positions, centers = np.asarray(positions, float), np.atleast_1d(centers)
    if extent < 0:
        raise ValueError(f"extent must be at least 0 (m), got {extent}.")
    if extent == 0:
        weights = np.zeros((len(positions), len(centers)))
        weights[centers, np.arange(len(centers))] = 1.0
        return weights
    distance = cdist(positions, positions[centers]) / extent
    return np.where(distance <= 3, np.exp(-0.5 * distance**2), 0.0)


@fill_doc
def draw_centers(
    positions: np.ndarray, n_centers: int, min_distance: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw locations one by one, each uniformly from those far enough from the earlier ones.

    Parameters
    ----------
    positions : ndarray, shape (n_locations, 3)
        Positions of the locations (m).
    n_centers : int
        Number of locations to draw.
    min_distance : float
        Smallest distance between two of them (m).
    %(generator)s

    Returns
    -------
    centers : ndarray of int, shape (n_centers,)
        Indices of the drawn locations.
    """
    free = np.ones(len(positions), bool)
    centers = []
    while len(centers) < n_centers:
        if not free.any():
            raise ValueError(
                f"Only {len(centers)} of {n_centers} sources fit at least {min_distance} m "
                "apart: lower min_distance or the number of sources."
            )
        centers.append(rng.choice(np.flatnonzero(free)))
        free &= np.linalg.norm(positions - positions[centers[-1]], axis=1) >= min_distance
        free[centers[-1]] = False
    return np.array(centers, int)


# %% Time courses


def _ar1(shape: tuple[int, ...], ar: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) processes of unit variance along the last axis."""
    if not -1 < ar < 1:
        raise ValueError(f"ar must lie between -1 and 1 (a stationary process), got {ar}.")
    innovations = rng.standard_normal(shape)
    innovations[..., 1:] *= np.sqrt(1 - ar**2)  # the first sample has the stationary variance
    return lfilter([1.0], [1.0, -ar], innovations)


def _autoregressive(n_sources, n_times, *, sfreq, n_trials, rng, ar=0.95):
    """Stationary AR(1) with coefficient `ar`."""
    return _ar1((n_trials, n_sources, n_times), ar, rng)


def _white(n_sources, n_times, *, sfreq, n_trials, rng):
    """White Gaussian noise."""
    return rng.standard_normal((n_trials, n_sources, n_times))


def _oscillation(n_sources, n_times, *, sfreq, n_trials, rng, freqs=(8.0, 30.0)):
    """Sine of random phase, and of random frequency in a band, under a Hann envelope."""
    low, high = freqs
    if not 0 < low <= high < sfreq / 2:
        raise ValueError(
            f"freqs must be 0 < low <= high < sfreq / 2 = {sfreq / 2:g} Hz, got {freqs}."
        )
    shape = (n_trials, n_sources, 1)
    phase = rng.uniform(0, 2 * np.pi, shape)
    cycles = rng.uniform(low, high, shape) * np.arange(n_times) / sfreq
    courses = np.sin(2 * np.pi * cycles + phase) * hann(n_times + 2)[1:-1]
    return courses / np.sqrt(np.mean(courses**2, axis=-1, keepdims=True))


TIME_COURSES: dict[str, Callable[..., np.ndarray]] = {
    "ar": _autoregressive,
    "oscillation": _oscillation,
    "white": _white,
}
"""Functions ``f(n_sources, n_times, *, sfreq, n_trials, rng, **options)`` by name."""


@fill_doc
def time_courses(
    n_sources: int,
    n_times: int,
    *,
    sfreq: float,
    kind: str | Callable[..., np.ndarray] = "ar",
    n_trials: int = 1,
    rng: Rng = None,
    **options: Any,
) -> np.ndarray:
    """Draw independent time courses of unit variance.

    Parameters
    ----------
    n_sources, n_times : int
        Number of time courses and of samples.
    sfreq : float
        Sampling frequency (Hz).
    kind : "ar" | "oscillation" | "white" | callable
        Stationary first-order autoregressive process, sine of random phase and frequency under a
        Hann envelope, white noise, or a function with the signature of those in
        :data:`TIME_COURSES`.
    n_trials : int
        Number of independent draws.
    %(seed)s
    **options
        Options of the kind, with their defaults: ``ar=0.95`` (coefficient of "ar") and
        ``freqs=(8, 30)`` (band of "oscillation", Hz).

    Returns
    -------
    courses : ndarray, shape (n_trials, n_sources, n_times)
        Time courses of variance 1. Each "oscillation" has a mean square of exactly 1, the others
        on average.

    Examples
    --------
    >>> from mne_invkit.simulation.signals import time_courses
    >>> time_courses(3, 100, sfreq=200.0, kind="oscillation", freqs=(8, 12), rng=0).shape
    (1, 3, 100)
    """
    if not callable(kind):
        if kind not in TIME_COURSES:
            raise ValueError(
                f"kind must be one of {', '.join(map(repr, TIME_COURSES))} or a function, "
                f"got {kind!r}."
            )
        kind = TIME_COURSES[kind]
    rng = np.random.default_rng(rng)
    courses = kind(n_sources, n_times, sfreq=sfreq, n_trials=n_trials, rng=rng, **options)
    if np.shape(courses) != (n_trials, n_sources, n_times):
        raise ValueError(
            f"kind must return an array of shape (n_trials, n_sources, n_times) = "
            f"{(n_trials, n_sources, n_times)}, got {np.shape(courses)}."
        )
    return courses


# %% Noise


@fill_doc
def sensor_noise(
    n_channels: int,
    n_times: int,
    *,
    n_trials: int = 1,
    spatial_cov: ArrayLike | None = None,
    ar: float = 0.0,
    rng: Rng = None,
) -> np.ndarray:
    """Draw Gaussian noise, colored in space and time.

    Parameters
    ----------
    n_channels, n_times : int
        Number of channels and of samples.
    n_trials : int
        Number of independent draws.
    spatial_cov : array-like, shape (n_channels, n_channels) | None
        Covariance of the channels, of any rank. None is the identity.
    ar : float
        Correlation of neighboring samples (first-order autoregressive process); 0 is white.
    %(seed)s

    Returns
    -------
    noise : ndarray, shape (n_trials, n_channels, n_times)
        Noise whose covariance at every sample is `spatial_cov`.
    """
    noise = _ar1((n_trials, n_channels, n_times), ar, np.random.default_rng(rng))
    if spatial_cov is None:
        return noise
    cov = np.asarray(spatial_cov, float)
    if cov.shape != (n_channels, n_channels):
        raise ValueError(
            f"spatial_cov must have the shape (n_channels, n_channels) = "
            f"{(n_channels, n_channels)}, got {cov.shape}."
        )
    # variances of channel types differ by up to 1e15, so factor the correlations
    std = np.sqrt(np.maximum(np.diag(cov), 0))
    unit = np.where(std > 0, std, 1)
    correlation = cov / np.outer(unit, unit)
    values, vectors = np.linalg.eigh(correlation)
    if not np.allclose(correlation, correlation.T) or values[0] < -1e-6 * values[-1]:
        raise ValueError("spatial_cov must be symmetric and positive semi-definite.")
    return (std[:, None] * vectors * np.sqrt(np.maximum(values, 0))) @ noise


def snr_factor(
    signal: ArrayLike, noise: ArrayLike, snr_db: float, *, whitener: ArrayLike | None = None
) -> float:
    """Compute the factor of the noise that gives a signal-to-noise ratio.

    Parameters
    ----------
    signal : array-like, shape (..., n_channels, n_times)
        The signal.
    noise : array-like, shape (..., n_channels, n_times)
        The noise. Its numbers of trials and samples may differ from those of the signal.
    snr_db : float
        Signal-to-noise ratio (dB).
    whitener : array-like, shape (n_rank, n_channels) | None
        Matrix that multiplies signal and noise before their powers are taken.

    Returns
    -------
    factor : float
        With ``scaled = factor * noise``, ``10 * log10(mean(signal ** 2) / mean(scaled ** 2))``
        equals `snr_db`. The means are over all channels, samples and trials.
    """
    if whitener is not None:
        signal, noise = whitener @ signal, whitener @ noise
    signal_power, noise_power = np.mean(np.square(signal)), np.mean(np.square(noise))
    if not (signal_power > 0 and noise_power > 0):
        raise ValueError(
            f"An SNR needs signal and noise, but their powers are {signal_power} and {noise_power}."
        )
    return np.sqrt(signal_power / noise_power) * 10 ** (-snr_db / 20)
