"""Simulated evoked responses and trials, whose true sources are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import mne
import numpy as np
from mne.utils import verbose
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from mne_invkit._docs import fill_doc
from mne_invkit._mne import space_kind
from mne_invkit.inverse.sensors import check_forward
from mne_invkit.inverse.stc import STC_CLASSES, both_hemispheres
from mne_invkit.simulation.signals import (
    Rng,
    draw_centers,
    gaussian_patches,
    sensor_noise,
    snr_factor,
    time_courses,
)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated recording and its true sources.

    Attributes
    ----------
    evoked : mne.Evoked
        Average over the trials.
    epochs : mne.EpochsArray
        The trials.
    noise_cov : mne.Covariance
        Noise covariance of a single trial, as MNE's inverse functions expect it.
    stc : mne.SourceEstimate | mne.VolSourceEstimate | mne.MixedSourceEstimate
        True amplitude of every location along its orientation (A m).
    orientations : ndarray, shape (n_locations, 3)
        Orientation of every location: a unit vector in the head frame.
    sources : ndarray of int, shape (n_sources,)
        Index of the location of each source, or of the center of its patch.
    """

    evoked: mne.Evoked
    epochs: mne.EpochsArray
    noise_cov: mne.Covariance
    stc: mne.SourceEstimate | mne.VolSourceEstimate | mne.MixedSourceEstimate
    orientations: np.ndarray
    sources: np.ndarray


@verbose
@fill_doc
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

    Every trial has the same response and its own noise. EEG gets the average reference as a
    projector, so the data are ready for inverse functions.

    Parameters
    ----------
    forward : mne.Forward
        The forward solution that makes the data. To simulate errors of the head model as well,
        pass another one to the inverse function, for instance with another conductivity of the
        skull.
    info : mne.Info
        Measurement info with the sampling frequency and the channels. Good channels that the
        forward solution has are simulated.
    noise_cov : mne.Covariance | None
        Noise covariance up to a factor. None takes the ad hoc covariance of MNE.
    sources : int | array-like of int
        Number of sources to draw at random, or the indices of their locations.
    extent : float
        Standard deviation of the patch around each source (m), see
        :func:`~mne_invkit.simulation.signals.gaussian_patches`. 0 gives point sources.
    min_distance : float
        Smallest distance between sources drawn at random (m).
    orientation : "auto" | "normal" | "random"
        Orientation of the sources: along the normals of the source space, or one random direction
        for each source and its patch (where patches overlap, that of the nearest source). "auto"
        is "normal" on surfaces and in forward solutions of fixed orientation, and "random"
        elsewhere.
    amplitude : float
        Root mean square over time of the amplitude of each source (A m).
    time_course : str | callable
        Kind of :func:`~mne_invkit.simulation.signals.time_courses`. To set its options, pass a
        function such as ``functools.partial(time_courses, kind="ar", ar=0.5)``.
    tmin, tmax : float
        First and last time (s). Sources are silent before time 0, so there is a baseline.
    snr_db : float
        Signal-to-noise ratio of a single trial (dB) from time 0 on: the ratio of mean powers over
        all sensors, after projection and whitening by `noise_cov`. Averaging adds
        ``10 * log10(n_trials)``.
    noise_ar : float
        Correlation of neighboring samples of the noise.
    n_trials : int
        Number of trials.
    %(seed)s
    %(verbose)s

    Returns
    -------
    simulation : Simulation
        Data, noise covariance and true sources.

    See Also
    --------
    mne.simulation.SourceSimulator : Builds your own sequence of source activity.
    mne_invkit.score : Compares an estimate with the true sources.

    Examples
    --------
    >>> import mne
    >>> from mne_invkit import simulate_evoked, template_forward
    >>> montage = mne.channels.make_standard_montage("biosemi32")
    >>> info = mne.create_info(montage.ch_names, 256.0, "eeg").set_montage(montage)
    >>> head = template_forward(info, spacing="ico3", conductivity=(0.3, 0.012, 0.3), verbose=False)
    >>> simulation = simulate_evoked(head, info, sources=2, n_trials=20, rng=0, verbose=False)
    >>> simulation.evoked.nave
    20
    """
    check_forward(forward)
    rng = np.random.default_rng(rng)
    if not tmin <= tmax or tmax < 0:
        raise ValueError(f"Expected tmin <= tmax and 0 <= tmax (s), got {tmin} and {tmax}.")
    _check_options(info, noise_cov, sources, n_trials, snr_db, amplitude)
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
    factor = snr_factor(signal[:, active], noise, snr_db, whitener=whitener)
    noise_cov["data"] *= factor**2

    events = np.column_stack([np.arange(n_trials), np.zeros(n_trials, int), np.ones(n_trials, int)])
    epochs = mne.EpochsArray(signal + factor * noise, info, events, times[0], proj=True)
    evoked = epochs.average()
    evoked.comment = "simulation"
    src = forward["src"]
    subject = src[0].get("subject_his_id")
    vertices = both_hemispheres(src, [s["vertno"] for s in src])
    stc = STC_CLASSES[space_kind(src), False](truth, vertices, times[0], 1 / info["sfreq"], subject)
    return Simulation(evoked, epochs, noise_cov, stc, orientations, centers)


def _check_options(info, noise_cov, sources, n_trials, snr_db, amplitude) -> None:
    """Raise if an option has no meaning, whatever the forward solution."""
    if not isinstance(info, mne.Info):
        raise TypeError(f"info must be an mne.Info, got {type(info).__name__}: pass inst.info.")
    if noise_cov is not None and not isinstance(noise_cov, mne.Covariance):
        raise TypeError(
            f"noise_cov must be an mne.Covariance or None, got {type(noise_cov).__name__}: make "
            "one with mne.make_ad_hoc_cov(info)."
        )
    if np.asarray(sources).dtype.kind not in "iu":
        raise ValueError(f"sources must be a whole number, or whole numbers, got {sources!r}.")
    if not isinstance(n_trials, Integral) or n_trials < 1:
        raise ValueError(f"n_trials must be a whole number of at least 1, got {n_trials!r}.")
    if not isinstance(snr_db, Real) or np.isnan(snr_db):
        raise ValueError(f"snr_db must be a number (dB), got {snr_db!r}.")
    if not isinstance(amplitude, Real) or not np.isfinite(amplitude) or amplitude == 0:
        raise ValueError(f"amplitude must be a finite number (A m) other than 0, got {amplitude}.")


def _common_channels(forward, info, noise_cov):
    """Gain, info with the average reference, and full covariance of the channels all have."""
    picks = mne.pick_types(info, meg=True, eeg=True)
    picks = [k for k in picks if info["ch_names"][k] in forward["sol"]["row_names"]]
    if not picks:
        raise ValueError(
            "info and forward have no good EEG or MEG channel in common: compute the forward "
            "solution for this info, such as mne_invkit.template_forward(info)."
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
            f"noise_cov lacks {len(missing)} channels ({', '.join(missing[:5])}...): drop them "
            "from info, or leave noise_cov=None for an ad hoc covariance."
        )
    noise_cov = mne.pick_channels_cov(noise_cov, info["ch_names"], exclude=[], ordered=True)
    data = np.diag(noise_cov.data) if noise_cov["diag"] else noise_cov.data.copy()
    noise_cov = mne.Covariance(
        data, info["ch_names"], bads=[], projs=noise_cov["projs"], nfree=noise_cov["nfree"]
    )
    return forward["sol"]["data"][rows].astype(float), info, noise_cov


def _place(forward, sources, extent, min_distance, rng):
    """Location of each source, weights of its patch, and the nearest source of each location."""
    positions = forward["source_rr"]
    if np.ndim(sources) == 0:
        centers = draw_centers(positions, int(sources), min_distance, rng)
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
    """Orientation of every location (head frame), and the gain along it."""
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
    axes = forward["source_nn"].reshape(-1, 3, 3)  # of the gain's columns
    along = np.einsum("nij,nj->ni", axes, orientations)
    return orientations, np.einsum("mni,ni->mn", gain.reshape(len(gain), -1, 3), along)
