"""How far an estimate is from the true sources, for arrays.

Amplitudes have one row per location: their shape is (n_locations,), (n_locations, n_times), or
(n_locations, 3, n_times) with the components in the middle, as in MNE's vector source estimates.
Sign and unit do not matter unless a function says otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

# %% Strengths and peaks


def location_strength(data: ArrayLike) -> np.ndarray:
    """Strength of each location: root mean square over time of its magnitude.

    Parameters
    ----------
    data : array-like, shape (n_locations, ...)
        Amplitudes, as described at the top of this module.

    Returns
    -------
    strength : ndarray, shape (n_locations,)
        Strengths, in the unit of `data`.
    """
    magnitude = _magnitude(data)
    return magnitude if magnitude.ndim == 1 else np.sqrt(np.mean(magnitude**2, axis=1))


def find_peaks(
    data: ArrayLike, positions: ArrayLike, *, n_peaks: int | None = None, radius: float = 0.02
) -> np.ndarray:
    """Find local maxima in space, the strongest first.

    Parameters
    ----------
    data : array-like, shape (n_locations, ...)
        Amplitudes, as described at the top of this module. Their :func:`location_strength` is
        compared.
    positions : array-like, shape (n_locations, 3)
        Positions of the locations (m).
    n_peaks : int | None
        Maximum number of peaks. None finds all of them.
    radius : float
        A peak is an active location that is not surpassed within this distance (m).

    Returns
    -------
    peaks : ndarray of int, shape (n_found,)
        Indices of the peaks, the strongest first. Among equal locations within the radius, the
        first is the peak.
    """
    strength, positions = location_strength(data), np.asarray(positions, float)
    beaten = strength == 0
    peaks = []
    for k in np.argsort(-strength, kind="stable"):
        if len(peaks) == n_peaks or beaten.all():
            break
        if not beaten[k]:
            peaks.append(k)
        beaten |= np.linalg.norm(positions - positions[k], axis=1) <= radius
    return np.array(peaks, int)


def _magnitude(data) -> np.ndarray:
    """Lengths of vectors or absolute values, shape (n_locations,) or (n_locations, n_times)."""
    data = np.asarray(data)
    if not 1 <= data.ndim <= 3 or (data.ndim == 3 and data.shape[1] != 3):
        raise ValueError(
            "Amplitudes must have the shape (n_locations,), (n_locations, n_times) or "
            f"(n_locations, 3, n_times), got {data.shape}."
        )
    if not np.isfinite(data).all():
        raise ValueError("The amplitudes are not finite (NaN or infinite).")
    return np.linalg.norm(data, axis=1) if data.ndim == 3 else np.abs(data)


def _strengths(positions, **data) -> list[np.ndarray]:
    """Strengths of arrays at the same positions, after checks."""
    strengths = []
    for name, values in data.items():
        strength = location_strength(values)
        if len(strength) != len(positions):
            raise ValueError(f"{name} has {len(strength)} rows for {len(positions)} positions.")
        if not strength.any():
            raise ValueError(f"{name} is zero everywhere, so there is nothing to compare.")
        strengths.append(strength)
    return strengths


# %% Metrics


def localization_error(
    truth: ArrayLike, estimate: ArrayLike, positions: ArrayLike, *, radius: float = 0.02
) -> float:
    """Mean distance from each true source to the nearest peak of the estimate.

    The true sources are the peaks of `truth` (:func:`find_peaks`). They are compared with an equal
    number of peaks of the estimate, the strongest ones. For one true source, the error is the
    distance between the two maxima.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_locations, ...)
        Amplitudes, as described at the top of this module.
    positions : array-like, shape (n_locations, 3)
        Positions of the locations (m).
    radius : float
        Radius of :func:`find_peaks` (m).

    Returns
    -------
    error : float
        Mean distance in m.

    See Also
    --------
    mne.simulation.metrics.region_localization_error : Distance between thresholded regions.
    mne.simulation.metrics.peak_position_error : Distance from a center of mass, for one dipole.
    """
    positions = np.asarray(positions, float)
    truth, estimate = _strengths(positions, truth=truth, estimate=estimate)
    true_peaks = find_peaks(truth, positions, radius=radius)
    peaks = find_peaks(estimate, positions, n_peaks=len(true_peaks), radius=radius)
    return float(cdist(positions[true_peaks], positions[peaks]).min(axis=1).mean())


def normalized_emd(truth: ArrayLike, estimate: ArrayLike, positions: ArrayLike) -> float:
    """Earth mover's distance from the truth, relative to that of a uniform estimate.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_locations, ...)
        Amplitudes, as described at the top of this module. Their :func:`location_strength`
        is compared. Estimates below 1e-6 of the largest count as zero.
    positions : array-like, shape (n_locations, 3)
        Positions of the locations (m).

    Returns
    -------
    emd : float
        0 for the truth and 1 for equal strength everywhere. It can exceed 1.

    Notes
    -----
    As in Morik et al. (2024), arXiv:2411.00143.
    """
    positions = np.asarray(positions, float)
    truth, estimate = _strengths(positions, truth=truth, estimate=estimate)
    estimate = np.where(estimate >= 1e-6 * estimate.max(), estimate, 0)
    uniform = _emd(np.ones(len(truth)), truth, positions)
    if uniform == 0:
        raise ValueError("truth is uniform, so its distance from a uniform estimate is 0.")
    return _emd(estimate, truth, positions) / uniform


def _emd(p: np.ndarray, q: np.ndarray, positions: np.ndarray) -> float:
    """Mean distance (m) that the mass of `p` moves to become `q`, both scaled to sum 1.

    Mass that both share does not move, by the triangle inequality. So only the surplus moves, and
    the cost matrix has at most n_locations ** 2 / 4 elements.
    """
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            'The earth mover\'s distance needs POT: pip install "mne-invkit[metrics]".'
        ) from error

    surplus = p / p.sum() - q / q.sum()
    over, under = surplus > 1e-15, surplus < -1e-15  # rounding is no surplus
    if not (over.any() and under.any()):
        return 0.0
    moved, wanted = surplus[over], -surplus[under]
    cost = cdist(positions[over], positions[under])
    work = ot.emd2(moved / moved.sum(), wanted / wanted.sum(), cost, numItermax=10_000_000)
    return float(moved.sum() * work)


def source_auc(truth_mask: ArrayLike, estimate: ArrayLike) -> float:
    """Area under the receiver operating characteristic of detecting the true sources.

    Parameters
    ----------
    truth_mask : array-like of bool, shape (n_locations,)
        Which locations are active: the true sources.
    estimate : array-like, shape (n_locations, ...)
        Amplitudes, as described at the top of this module.

    Returns
    -------
    auc : float
        Probability that an active location has a stronger estimate than a silent one (the
        Mann-Whitney statistic; ties count half). 1 is perfect, 0.5 is chance.

    See Also
    --------
    mne.simulation.metrics.roc_auc_score : The same for two stcs, with scikit-learn.
    """
    mask, strength = np.asarray(truth_mask, bool), location_strength(estimate)
    if mask.shape != strength.shape:
        raise ValueError(f"truth_mask has the shape {mask.shape}, expected {strength.shape}.")
    if mask.all() or not mask.any():
        raise ValueError("An AUC needs both active and silent locations in truth_mask.")
    from sklearn.metrics import roc_auc_score  # takes a second to import

    return float(roc_auc_score(mask, strength))


def spatial_dispersion(estimate: ArrayLike, positions: ArrayLike, centers: ArrayLike) -> float:
    """Spread of an estimate around the true sources.

    Parameters
    ----------
    estimate : array-like, shape (n_locations, ...)
        Amplitudes, as described at the top of this module.
    positions : array-like, shape (n_locations, 3)
        Positions of the locations (m).
    centers : array-like, shape (3,) | (n_centers, 3)
        Positions of the true sources (m).

    Returns
    -------
    dispersion : float
        ``sqrt(sum(d ** 2 * x ** 2) / sum(x ** 2))`` in m, with the strength x of each location
        and its distance d from the nearest true source.

    See Also
    --------
    mne.simulation.metrics.spatial_deviation_error : A spread with weights x, for one dipole.
    """
    (strength,) = _strengths(positions, estimate=estimate)
    distance = cdist(positions, np.atleast_2d(centers)).min(axis=1)
    return float(np.sqrt(np.average(distance**2, weights=strength**2)))


def time_course_error(
    truth: ArrayLike, estimate: ArrayLike, positions: ArrayLike, *, radius: float = 0.02
) -> float:
    """Mean error of the estimated time courses of the true sources.

    The error of a true source (a peak of `truth`) is one minus the absolute correlation of its
    time course with the estimated one. The estimated time course is the first singular vector
    of all components at the locations within `radius`. So sign, scale and orientation do not
    matter.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_locations, n_times) | (n_locations, 3, n_times)
        Signed amplitudes. Magnitudes (``pick_ori=None`` with free orientation) do not show the
        time course, so estimate with ``pick_ori="vector"`` or ``"normal"``.
    positions : array-like, shape (n_locations, 3)
        Positions of the locations (m).
    radius : float
        Radius around a true source, and of :func:`find_peaks` (m).

    Returns
    -------
    error : float
        Mean over the true sources, from 0 (the same time course) to 1. It is 1 where the estimate
        is zero or constant.
    """
    truth, estimate, positions = np.asarray(truth), np.asarray(estimate), np.asarray(positions)
    _strengths(positions, truth=truth)
    if truth.ndim < 2 or truth.shape[-1] < 3 or estimate.shape[-1] != truth.shape[-1]:
        raise ValueError(
            "Time courses need at least 3 samples, the same in truth and estimate; got the shapes "
            f"{truth.shape} and {estimate.shape}."
        )
    errors = []
    for peak in find_peaks(truth, positions, radius=radius):
        near = np.linalg.norm(positions - positions[peak], axis=1) <= radius
        courses = np.array([_main_course(truth[[peak]]), _main_course(estimate[near])])
        courses -= courses.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(courses, axis=1)
        correlation = np.abs(courses[0] @ courses[1]) / norms.prod() if norms.min() > 1e-12 else 0
        errors.append(1 - min(correlation, 1))
    return float(np.mean(errors))


def _main_course(data) -> np.ndarray:
    """Unit time course that explains most of the data."""
    rows = data.reshape(-1, data.shape[-1])
    if not rows.any():
        return np.zeros(rows.shape[1])
    return np.linalg.svd(rows / np.abs(rows).max(), full_matrices=False)[2][0]


def amplitude_error(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Squared error of the magnitudes, relative to the power of the truth.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_locations, ...)
        Amplitudes in the same unit, as described at the top of this module.

    Returns
    -------
    error : float
        ``sum((|x| - |y|) ** 2) / sum(|x| ** 2)`` over locations and samples, with the truth x and
        the estimate y. 0 is perfect, and an estimate of zero has 1.

    See Also
    --------
    mne.simulation.metrics.cosine_score : Comparison of all samples, whatever the scale.
    """
    x, y = _magnitude(truth), _magnitude(estimate)
    if x.shape != y.shape:
        raise ValueError(
            f"truth and estimate differ in the shapes {x.shape} and {y.shape} of their magnitudes."
        )
    if not x.any():
        raise ValueError("truth is zero everywhere.")
    return float(np.sum((x - y) ** 2) / np.sum(x**2))
