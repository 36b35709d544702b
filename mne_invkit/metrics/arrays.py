"""How far an estimate is from the true sources, on arrays.

Arrays hold one row a source: shape (n_sources,), (n_sources, n_times), or
(n_sources, 3, n_times) with the components of the orientation in the middle, as in MNE's
vector source estimates. Sign and unit drop out unless a function says otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

# %% Strengths and peaks


def source_strength(data: ArrayLike) -> np.ndarray:
    """Root mean square over time of the magnitude of each source.

    Parameters
    ----------
    data : array-like, shape (n_sources,) | (n_sources, n_times) | (n_sources, 3, n_times)
        Amplitudes.

    Returns
    -------
    strength : ndarray, shape (n_sources,)
        Strengths, in the unit of `data`.
    """
    magnitude = _magnitude(data)
    return magnitude if magnitude.ndim == 1 else np.sqrt(np.mean(magnitude**2, axis=1))


def find_peaks(
    data: ArrayLike, positions: ArrayLike, *, n_peaks: int | None = None, radius: float = 0.02
) -> np.ndarray:
    """Find the strongest local maxima in space.

    Parameters
    ----------
    data : array-like, shape (n_sources,) | (n_sources, n_times) | (n_sources, 3, n_times)
        Amplitudes; their :func:`source_strength` counts.
    positions : array-like, shape (n_sources, 3)
        Positions of the sources (m).
    n_peaks : int | None
        At most so many peaks. None is all of them.
    radius : float
        A peak is a source that no other one within this distance (m) surpasses.

    Returns
    -------
    peaks : ndarray of int, shape (n_found,)
        Indices of the peaks, the strongest first; silent sources are none. Of equal sources
        within the radius the first is the peak.
    """
    strength, positions = source_strength(data), np.asarray(positions, float)
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
    """Length of each source vector, shape (n_sources,) or (n_sources, n_times)."""
    data = np.asarray(data)
    if not 1 <= data.ndim <= 3 or (data.ndim == 3 and data.shape[1] != 3):
        raise ValueError(
            "Expected the shape (n_sources,), (n_sources, n_times) or (n_sources, 3, n_times), "
            f"got {data.shape}."
        )
    if not np.isfinite(data).all():
        raise ValueError("The amplitudes are not finite (NaN or infinite).")
    return np.linalg.norm(data, axis=1) if data.ndim == 3 else np.abs(data)


def _strengths(positions, **data) -> list[np.ndarray]:
    """Check and return the strengths of arrays over the same positions."""
    strengths = []
    for name, values in data.items():
        strength = source_strength(values)
        if len(strength) != len(positions):
            raise ValueError(f"{name} has {len(strength)} sources for {len(positions)} positions.")
        if not strength.any():
            raise ValueError(f"{name} is zero everywhere, so it has no place to compare.")
        strengths.append(strength)
    return strengths


# %% Metrics on arrays


def localization_error(
    truth: ArrayLike, estimate: ArrayLike, positions: ArrayLike, *, radius: float = 0.02
) -> float:
    """Mean distance from each true source to the nearest peak of the estimate.

    The true sources are the k peaks of `truth` (:func:`find_peaks`); as many of the estimate,
    its strongest ones, stand against them. With one true source it is the distance between the
    two maxima.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_sources, ...)
        Amplitudes, see the head of this module.
    positions : array-like, shape (n_sources, 3)
        Positions of the sources (m).
    radius : float
        Distance (m) within which only the strongest source is a peak.

    Returns
    -------
    error : float
        Mean distance in m.

    See Also
    --------
    mne.simulation.metrics.region_localization_error : Between thresholded regions.
    mne.simulation.metrics.peak_position_error : From the centre of mass, for one dipole.
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
    truth, estimate : array-like, shape (n_sources, ...)
        Amplitudes, see the head of this module. Their :func:`source_strength` is compared;
        estimates below 1e-6 of the greatest are left out.
    positions : array-like, shape (n_sources, 3)
        Positions of the sources (m).

    Returns
    -------
    emd : float
        0 for the truth, 1 for equal strength everywhere; it may exceed 1.

    Notes
    -----
    As in Morik et al. (2024), arXiv:2411.00143.
    """
    positions = np.asarray(positions, float)
    truth, estimate = _strengths(positions, truth=truth, estimate=estimate)
    estimate = np.where(estimate >= 1e-6 * estimate.max(), estimate, 0)
    uniform = _emd(np.ones(len(truth)), truth, positions)
    if uniform == 0:
        raise ValueError("The truth is uniform, and nothing can be relative to a distance of 0.")
    return _emd(estimate, truth, positions) / uniform


def _emd(p: np.ndarray, q: np.ndarray, positions: np.ndarray) -> float:
    """Mean distance (m) that the mass of `p` moves to become `q`, both scaled to sum 1.

    Mass that both share stays where it is, since distance obeys the triangle inequality. So
    only surpluses move, and the cost matrix has at most n_sources ** 2 / 4 elements.
    """
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            'The earth mover\'s distance needs POT: pip install "mne-invkit[metrics]".'
        ) from error

    surplus = p / p.sum() - q / q.sum()
    source, sink = surplus > 1e-15, surplus < -1e-15  # rounding is no surplus
    if not (source.any() and sink.any()):
        return 0.0
    moved, wanted = surplus[source], -surplus[sink]
    cost = cdist(positions[source], positions[sink])
    work = ot.emd2(moved / moved.sum(), wanted / wanted.sum(), cost, numItermax=10_000_000)
    return float(moved.sum() * work)


def source_auc(truth_mask: ArrayLike, estimate: ArrayLike) -> float:
    """Area under the receiver operating curve of detecting the true sources.

    Parameters
    ----------
    truth_mask : array-like of bool, shape (n_sources,)
        Which sources are active.
    estimate : array-like, shape (n_sources, ...)
        Amplitudes, see the head of this module.

    Returns
    -------
    auc : float
        Probability that an active source is stronger than a silent one, ties counting half
        (Mann-Whitney statistic): 1 is perfect, 0.5 is chance.

    See Also
    --------
    mne.simulation.metrics.roc_auc_score : The same for two stcs (needs scikit-learn).
    """
    mask, strength = np.asarray(truth_mask, bool), source_strength(estimate)
    if mask.shape != strength.shape:
        raise ValueError(f"truth_mask has the shape {mask.shape}, expected {strength.shape}.")
    n_active, n_silent = mask.sum(), (~mask).sum()
    if not (n_active and n_silent):
        raise ValueError("An AUC needs both active and silent sources in truth_mask.")
    rank_sum = rankdata(strength)[mask].sum()
    return float((rank_sum - n_active * (n_active + 1) / 2) / (n_active * n_silent))


def spatial_dispersion(estimate: ArrayLike, positions: ArrayLike, centers: ArrayLike) -> float:
    """Spread of an estimate around the true sources.

    Parameters
    ----------
    estimate : array-like, shape (n_sources, ...)
        Amplitudes, see the head of this module.
    positions : array-like, shape (n_sources, 3)
        Positions of the sources (m).
    centers : array-like, shape (3,) | (n_centers, 3)
        Positions of the true sources (m).

    Returns
    -------
    dispersion : float
        ``sqrt(sum(d ** 2 * x ** 2) / sum(x ** 2))`` in m, with the strengths x and the distance
        d to the nearest true source.

    See Also
    --------
    mne.simulation.metrics.spatial_deviation_error : Weighted by x, for one dipole.
    """
    (strength,) = _strengths(positions, estimate=estimate)
    distance = cdist(positions, np.atleast_2d(centers)).min(axis=1)
    return float(np.sqrt(np.average(distance**2, weights=strength**2)))


def time_course_error(
    truth: ArrayLike, estimate: ArrayLike, positions: ArrayLike, *, radius: float = 0.02
) -> float:
    """How badly the estimate follows the time courses of the true sources.

    For each peak of `truth`, one minus the absolute correlation between its time course and
    that of the estimate around it: the first singular vector of all sources and orientations
    within `radius`. So neither sign, scale nor orientation counts.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_sources, n_times) | (n_sources, 3, n_times)
        Signed amplitudes. Magnitudes (``pick_ori=None`` of a free orientation) have lost the
        time course: estimate with ``pick_ori="vector"`` or ``"normal"``.
    positions : array-like, shape (n_sources, 3)
        Positions of the sources (m).
    radius : float
        Radius of the region and of :func:`find_peaks` (m).

    Returns
    -------
    error : float
        Mean over the true sources, from 0 (same course) to 1. A silent or constant estimate
        counts 1.
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
    """Return the unit time course that explains most of the data."""
    rows = data.reshape(-1, data.shape[-1])
    if not rows.any():
        return np.zeros(rows.shape[1])
    return np.linalg.svd(rows / np.abs(rows).max(), full_matrices=False)[2][0]


def amplitude_error(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Squared error of the magnitudes, relative to the power of the truth.

    Parameters
    ----------
    truth, estimate : array-like, shape (n_sources, ...)
        Amplitudes in the same unit, see the head of this module.

    Returns
    -------
    error : float
        ``sum((|x| - |y|) ** 2) / sum(|x| ** 2)`` over sources and samples, with the truth x and
        the estimate y: 0 is perfect, 1 is what an estimate of zero gets.

    See Also
    --------
    mne.simulation.metrics.cosine_score : A comparison of all samples free of scale.
    """
    x, y = _magnitude(truth), _magnitude(estimate)
    if x.shape != y.shape:
        raise ValueError(f"truth and estimate have the magnitudes' shapes {x.shape} and {y.shape}.")
    if not x.any():
        raise ValueError("truth is zero everywhere.")
    return float(np.sum((x - y) ** 2) / np.sum(x**2))
