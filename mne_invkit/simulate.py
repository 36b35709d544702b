"""Simulated recordings with a known truth: source patches, time courses, noise at a given SNR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mne
import numpy as np
from mne.utils import fill_doc, verbose
from numpy.typing import ArrayLike
from scipy.signal import lfilter
from scipy.signal.windows import hann
from scipy.spatial.distance import cdist

from mne_invkit import checks

Rng = int | np.random.Generator | None

# %% Sources


def gaussian_patches(positions: ArrayLike, centers: ArrayLike, extent: float) -> np.ndarray:
    """Gaussian weights of sources around centres.

    Parameters
    ----------
    positions : array-like, shape (n_sources, 3)
        Positions of the sources (m).
    centers : array-like of int, shape (n_patches,)
        Index of the source at the centre of each patch.
    extent : float
        Standard deviation of the patch (m); 0 is the single source.

    Returns
    -------
    weights : ndarray, shape (n_sources, n_patches)
        ``exp(-d ** 2 / (2 * extent ** 2))`` at the distance d from the centre: 1 at the centre,
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


def _draw_centers(positions, n_centers, min_distance, rng) -> np.ndarray:
    """Draw sources one by one, each uniformly from those far enough from the earlier ones."""
    free = np.ones(len(positions), bool)
    centers = []
    while len(centers) < n_centers:
        if not free.any():
            raise ValueError(
                f"Only {len(centers)} of {n_centers} sources fit at least {min_distance} m "
                "apart; lower min_distance or the number of sources."
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
    """Sine of random frequency in the band `freqs` and random phase under a Hann envelope."""
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
"""Kinds of time courses: name to ``f(n_sources, n_times, *, sfreq, n_trials, rng, **options)``."""


def time_courses(
    n_sources: int,
    n_times: int,
    *,
    sfreq: float,
    kind: str | Callable[..., np.ndarray] = "ar",
    n_trials: int = 1,
    rng: Rng = None,
    **options,
) -> np.ndarray:
    """Draw independent time courses of unit variance.

    Parameters
    ----------
    n_sources, n_times : int
        Number of courses and of samples.
    sfreq : float
        Sampling frequency (Hz).
    kind : "ar" | "oscillation" | "white" | callable
        A stationary first-order autoregressive process, a sine of random phase and frequency
        under a Hann envelope, white noise, or a function with the signature of those in
        :data:`TIME_COURSES`.
    n_trials : int
        Number of independent draws.
    rng : int | numpy.random.Generator | None
        Seed or generator.
    **options
        Options of the kind: ``ar=0.95`` (coefficient of "ar"), ``freqs=(8, 30)`` (band of
        "oscillation", Hz).

    Returns
    -------
    courses : ndarray, shape (n_trials, n_sources, n_times)
        Courses of variance 1 (in expectation; "oscillation": mean square 1 exactly).

    Examples
    --------
    >>> from mne_invkit.simulate import time_courses
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


def sensor_noise(
    n_channels: int,
    n_times: int,
    *,
    n_trials: int = 1,
    spatial_cov: ArrayLike | None = None,
    ar: float = 0.0,
    rng: Rng = None,
) -> np.ndarray:
    """Draw Gaussian noise, coloured in space and time.

    Parameters
    ----------
    n_channels, n_times : int
        Number of channels and of samples.
    n_trials : int
        Number of independent draws.
    spatial_cov : array-like, shape (n_channels, n_channels) | None
        Covariance between channels, of any rank. None is the identity.
    ar : float
        Correlation of neighbouring samples (first-order autoregressive process); 0 is white.
    rng : int | numpy.random.Generator | None
        Seed or generator.

    Returns
    -------
    noise : ndarray, shape (n_trials, n_channels, n_times)
        The noise, with covariance `spatial_cov` at every sample.
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
    # channel types differ by up to 1e15 in variance: factor the correlations
    std = np.sqrt(np.maximum(np.diag(cov), 0))
    unit = np.where(std > 0, std, 1)
    values, vectors = np.linalg.eigh(cov / np.outer(unit, unit))
    if not np.allclose(cov, cov.T) or values[0] < -1e-6 * values[-1]:
        raise ValueError("spatial_cov must be symmetric and positive semi-definite.")
    return (std[:, None] * vectors * np.sqrt(np.maximum(values, 0))) @ noise


def scale_to_snr(
    signal: ArrayLike, noise: ArrayLike, snr_db: float, *, whitener: ArrayLike | None = None
) -> np.ndarray:
    """Scale noise to a signal-to-noise ratio.

    Parameters
    ----------
    signal : array-like, shape (..., n_channels, n_times)
        The signal.
    noise : array-like, shape (..., n_channels, n_times)
        The noise; its number of trials and samples may differ from the signal's.
    snr_db : float
        Ratio of mean powers over all channels, samples and trials (dB).
    whitener : array-like, shape (n_rank, n_channels) | None
        Powers are those of the data multiplied by this matrix (None: of the data).

    Returns
    -------
    noise : ndarray
        The noise times the one factor that makes ``10 * log10(mean(signal ** 2) /
        mean(noise ** 2))`` equal to `snr_db`.
    """
    return _noise_factor(signal, noise, snr_db, whitener) * np.asarray(noise)


def _noise_factor(signal, noise, snr_db, whitener) -> float:
    """Compute the factor on the noise that gives the signal-to-noise ratio."""
    if whitener is not None:
        signal, noise = whitener @ signal, whitener @ noise
    signal_power, noise_power = np.mean(np.square(signal)), np.mean(np.square(noise))
    if not (signal_power > 0 and noise_power > 0):
        raise ValueError(
            f"An SNR needs signal and noise, got the powers {signal_power} and {noise_power}."
        )
    return np.sqrt(signal_power / noise_power) * 10 ** (-snr_db / 20)


# %% MNE objects

_STC_CLASSES = {"surface": mne.SourceEstimate, "mixed": mne.MixedSourceEstimate}


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated recording and the sources behind it.

    Attributes
    ----------
    evoked : mne.Evoked
        Average over trials.
    epochs : mne.EpochsArray
        The trials.
    noise_cov : mne.Covariance
        Covariance of the noise of one trial, as MNE's inverse functions expect it.
    stc : mne.SourceEstimate | mne.VolSourceEstimate | mne.MixedSourceEstimate
        True amplitude of every source along its orientation (A m).
    orientations : ndarray, shape (n_locations, 3)
        Unit orientation of every source (head frame).
    sources : ndarray of int, shape (n_sources,)
        Indices of the centres of activity among the locations of the forward solution.
    """

    evoked: mne.Evoked
    epochs: mne.EpochsArray
    noise_cov: mne.Covariance
    stc: mne.SourceEstimate | mne.VolSourceEstimate | mne.MixedSourceEstimate
    orientations: np.ndarray
    sources: np.ndarray


@fill_doc
@verbose
def simulate_evoked(
    forward: mne.Forward,
    info: mne.Info,
    noise_cov: mne.Covariance | None = None,
    *,
    sources: int | ArrayLike = 3,
    extent: float = 0.0,
    min_distance: float = 0.03,
    orientation: str = "auto",
    amplitude: float = 10e-9,
    time_course: str | Callable[..., np.ndarray] = "ar",
    tmin: float = 0.0,
    tmax: float = 0.5,
    snr_db: float = 10.0,
    noise_ar: float = 0.0,
    n_trials: int = 1,
    rng: Rng = None,
    verbose=None,
) -> Simulation:
    """Simulate an evoked response, its trials and its true sources.

    Every trial holds the same response and its own noise, which is what averaging assumes.
    EEG gets the average reference, as a projector, so the data are ready for inverse functions.

    Parameters
    ----------
    forward : mne.Forward
        The forward solution that makes the data. Give another one to the inverse function, for
        instance of another skull conductivity, and the simulation holds errors of the head
        model too.
    info : mne.Info
        Measurement info: sampling frequency and channels. Those that are good and in the
        forward solution are simulated.
    noise_cov : mne.Covariance | None
        Covariance of the noise up to a factor. None is the ad hoc covariance of MNE.
    sources : int | array-like of int
        Number of sources to draw at random, or the indices of their locations.
    extent : float
        Standard deviation of the activity around each source (m), see :func:`gaussian_patches`.
    min_distance : float
        Least distance between sources drawn at random (m).
    orientation : "auto" | "normal" | "random"
        Along the normals of the source space, or one random direction for each source. "auto"
        is normal on surfaces and in forward solutions of fixed orientation, random elsewhere.
        A location within an extended source points the way of the nearest centre.
    amplitude : float
        Root mean square amplitude of each source (A m).
    time_course : str | callable
        Kind of :func:`time_courses`. A function can hold options:
        ``functools.partial(time_courses, kind="ar", ar=0.5)``.
    tmin, tmax : float
        First and last time (s). Sources are silent before time 0, which leaves a baseline.
    snr_db : float
        Signal-to-noise ratio of a single trial (dB) from time 0 on: mean power over sensors,
        average-referenced, projected and whitened by `noise_cov`. Averaging adds
        ``10 * log10(n_trials)``.
    noise_ar : float
        Correlation of neighbouring samples of the noise.
    n_trials : int
        Number of trials.
    rng : int | numpy.random.Generator | None
        Seed or generator.
    %(verbose)s

    Returns
    -------
    simulation : Simulation
        Data, covariance of the noise and truth.

    See Also
    --------
    mne.simulation.SourceSimulator : Build your own sequence of source activity.
    mne_invkit.metrics.score : Compare an estimate with the truth.

    Examples
    --------
    >>> import mne
    >>> from mne_invkit.heads import template_forward
    >>> from mne_invkit.simulate import simulate_evoked
    >>> montage = mne.channels.make_standard_montage("biosemi32")
    >>> info = mne.create_info(montage.ch_names, 256.0, "eeg").set_montage(montage)
    >>> head = template_forward(info, spacing="ico3", conductivity=(0.3, 0.012, 0.3), verbose=False)
    >>> simulation = simulate_evoked(head, info, sources=2, n_trials=20, rng=0, verbose=False)
    >>> simulation.evoked.nave
    20
    """
    checks.check_forward(forward)
    rng = np.random.default_rng(rng)
    if not tmin <= tmax or tmax < 0:
        raise ValueError(f"Expected tmin <= tmax and 0 <= tmax (s), got {tmin} and {tmax}.")
    gain, info, noise_cov = _common_channels(forward, info, noise_cov)
    centers, weights, nearest = _place(forward, sources, extent, min_distance, rng)
    orientations, gain = _orient(gain, forward, orientation, nearest, rng)

    times = np.arange(round(tmin * info["sfreq"]), round(tmax * info["sfreq"]) + 1) / info["sfreq"]
    active = times >= 0
    courses = time_courses(
        len(centers), active.sum(), sfreq=info["sfreq"], kind=time_course, rng=rng
    )[0]
    truth = np.zeros((len(weights), len(times)))
    truth[:, active] = amplitude * weights @ courses
    signal = gain @ truth

    cov = noise_cov.data
    noise = sensor_noise(
        len(signal), len(times), n_trials=n_trials, spatial_cov=cov, ar=noise_ar, rng=rng
    )
    whitener, _ = mne.cov.compute_whitener(noise_cov, info, pca=True)
    factor = _noise_factor(signal[:, active], noise, snr_db, whitener)
    noise_cov["data"] *= factor**2

    events = np.column_stack([np.arange(n_trials), np.zeros(n_trials, int), np.ones(n_trials, int)])
    epochs = mne.EpochsArray(signal + factor * noise, info, events, times[0], proj=True)
    evoked = epochs.average()
    evoked.comment = "simulation"
    src = forward["src"]
    stc_class = _STC_CLASSES.get(src.kind, mne.VolSourceEstimate)
    vertices, subject = [s["vertno"] for s in src], src[0].get("subject_his_id")
    stc = stc_class(truth, vertices, times[0], 1 / info["sfreq"], subject)
    return Simulation(evoked, epochs, noise_cov, stc, orientations, centers)


def _common_channels(forward, info, noise_cov):
    """Pick the channels of gain, info (with the average reference) and full covariance."""
    picks = mne.pick_types(info, meg=True, eeg=True)
    picks = [k for k in picks if info["ch_names"][k] in forward["sol"]["row_names"]]
    if not picks:
        raise ValueError(
            "info and forward have no good EEG or MEG channel in common; compute the forward "
            "solution for this info, e.g. with mne_invkit.heads.template_forward(info)."
        )
    blank = mne.EvokedArray(np.zeros((len(picks), 1)), mne.pick_info(info, picks))
    if "eeg" in blank:
        blank.set_eeg_reference(projection=True, verbose="error")  # warns when there is one
    info = blank.info
    rows = [forward["sol"]["row_names"].index(name) for name in info["ch_names"]]
    if noise_cov is None:
        noise_cov = mne.make_ad_hoc_cov(info)
    missing = sorted(set(info["ch_names"]) - set(noise_cov.ch_names))
    if missing:
        raise ValueError(
            f"noise_cov lacks {len(missing)} channels ({', '.join(missing[:5])}...); drop them "
            "from info, or leave noise_cov=None for an ad hoc covariance."
        )
    noise_cov = mne.pick_channels_cov(noise_cov, info["ch_names"], exclude=[], ordered=True)
    data = np.diag(noise_cov.data) if noise_cov["diag"] else noise_cov.data.copy()
    noise_cov = mne.Covariance(
        data, info["ch_names"], bads=[], projs=noise_cov["projs"], nfree=noise_cov["nfree"]
    )
    return forward["sol"]["data"][rows].astype(float), info, noise_cov


def _place(forward, sources, extent, min_distance, rng):
    """Return indices of the centres, weights of their patches, and nearest centres."""
    positions = forward["source_rr"]
    if np.ndim(sources) == 0:
        centers = _draw_centers(positions, int(sources), min_distance, rng)
    else:
        centers = np.asarray(sources, int)
    if not len(centers) or centers.min() < 0 or centers.max() >= len(positions):
        raise ValueError(
            f"sources must be a positive number or indices from 0 to {len(positions) - 1}, "
            f"got {sources}."
        )
    weights = gaussian_patches(positions, centers, extent)
    return centers, weights, cdist(positions, positions[centers]).argmin(axis=1)


def _orient(gain, forward, orientation, nearest, rng):
    """Return the orientation of every location (head frame) and the gain along it."""
    if orientation not in ("auto", "normal", "random"):
        raise ValueError(f'orientation must be "auto", "normal" or "random", got {orientation!r}.')
    if forward["sol"]["ncol"] == forward["nsource"]:
        if orientation == "random":
            raise ValueError(
                'orientation="random" needs a forward solution of free orientation: pass '
                "mne.convert_forward_solution(forward, force_fixed=False)."
            )
        return forward["source_nn"], gain
    kinds = np.repeat([s["type"] for s in forward["src"]], [s["nuse"] for s in forward["src"]])
    with_normal = {"auto": ["surf"], "normal": ["surf", "discrete"], "random": []}[orientation]
    normal = np.isin(kinds, with_normal)
    if orientation == "normal" and not normal.all():
        raise ValueError('A volume has no normals: pass orientation="random" or "auto".')
    drawn = rng.standard_normal((nearest.max() + 1, 3))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    orientations = drawn[nearest]
    if normal.any():
        surface = mne.convert_forward_solution(forward, surf_ori=True)
        orientations[normal] = surface["source_nn"][2::3][normal]
    axes = forward["source_nn"].reshape(-1, 3, 3)  # of the columns of the gain
    along = np.einsum("nij,nj->ni", axes, orientations)
    return orientations, np.einsum("mni,ni->mn", gain.reshape(len(gain), -1, 3), along)
