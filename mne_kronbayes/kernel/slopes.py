"""Slopes of the cost along the variances of locations, and what a change of one would cost."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from mne_kronbayes.kernel.noise import NoiseModel

_WIDE = 4096  # columns of a gain handled at once; wider gains are handled in single precision


def weigh_slopes(source: tuple, noise: tuple, model: NoiseModel, occam: float) -> tuple:
    """Slopes of a cost whose Occam term has a weight.

    The cost is then ``occam`` times the whole log-determinant, less ``occam - 1`` times that
    of the noise. This last term is convex: -log|Lambda| is at most
    tr(Lambda^-1 Lambda_0) - log|Lambda_0| - M, as if the data had more of the noise.

    Parameters
    ----------
    source, noise : tuple of ndarray
        Rows of the slopes of log-determinant and quadratic term, for the weight 1.
    model : NoiseModel
        Holds the noise covariance Lambda.
    occam : float
        Weight of the sources' log-determinant (Occam) term, at least 1.

    Returns
    -------
    source, noise : tuple of ndarray
        Rows of the slopes.
    """
    if occam == 1:
        return source, noise
    root = np.sqrt(occam)
    chol = cholesky(model.covariance, lower=True)
    more = np.sqrt(occam - 1) * solve_triangular(chol, np.eye(len(chol)), lower=True)
    return (root * source[0], source[1]), (root * noise[0], np.vstack([noise[1], more]))


def location_slopes(
    rows: tuple[np.ndarray, np.ndarray], gain: np.ndarray, n_orient: int
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of log-determinant and quadratic term along the variance of each location.

    Parameters
    ----------
    rows : tuple of ndarray, shape (n, n_sensors)
        Rows R for each of the two: its slope along a column of the gain is the squared norm of
        ``R @ column``.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Gain of the locations.
    n_orient : int
        Number of components of a location.

    Returns
    -------
    log_slope, fit_slope : ndarray, shape (n_locations,)
        How fast the log-determinant rises, and how fast the quadratic term falls.
    """
    slopes = np.empty((2, gain.shape[1]))
    if gain.shape[1] <= _WIDE:
        _project(slopes, rows, gain)
    else:
        units = _unit(gain), [_unit(one) for one in rows]
        rows = [(one / unit).astype(np.float32) for one, unit in zip(rows, units[1], strict=True)]
        for start in range(0, gain.shape[1], _WIDE):
            part = slice(start, start + _WIDE)
            _project(slopes[:, part], rows, (gain[:, part] / units[0]).astype(np.float32))
        slopes *= (np.array(units[1])[:, np.newaxis] * units[0]) ** 2
    return tuple(slopes.reshape(2, -1, n_orient).sum(axis=2))


def _project(slopes: np.ndarray, rows, gain: np.ndarray) -> None:
    """Fill in the squared norms of ``rows @ gain``."""
    for slope, one in zip(slopes, rows, strict=True):
        projected = one @ gain
        slope[:] = np.einsum("rn,rn->n", projected, projected)


def _unit(array: np.ndarray) -> float:
    """Power of two near the largest magnitude, for single precision, whose range is small."""
    return 2.0 ** np.round(np.log2(np.abs(array).max(initial=np.finfo(float).tiny)))


def orient_slopes(
    rows: tuple[np.ndarray, np.ndarray], gain: np.ndarray, n_orient: int
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`location_slopes`, along the covariance between the components of each location.

    Both slopes have the shape (n_locations, n_orient, n_orient).
    """
    blocks = ((one @ gain).reshape(len(one), -1, n_orient).transpose(1, 0, 2) for one in rows)
    return tuple(block.transpose(0, 2, 1) @ block for block in blocks)


def shift_cost(shift: np.ndarray, s: np.ndarray, q: np.ndarray, occam: float) -> np.ndarray:
    """Rise of log-determinant and quadratic term when variances change one by one.

    Parameters
    ----------
    shift : ndarray, shape (n,)
        What is added to the variance of each location; minus the variance switches it off.
    s, q : ndarray, shape (n, n_orient, n_orient)
        L^T Sigma^-1 L and L^T Sigma^-1 M Sigma^-1 L for the gain L of each, M the second moment
        of the data.
    occam : float
        Weight of the log-determinant.

    Returns
    -------
    cost : ndarray, shape (n,)
        The rise, occam log|I + shift s| - shift tr((I + shift s)^-1 q).
    """
    values, vectors = np.linalg.eigh(s)
    grown = np.maximum(1 + shift[:, None] * values, np.finfo(float).eps)
    rotated = np.einsum("nia,nij,nja->na", vectors, q, vectors)
    return np.sum(occam * np.log(grown) - shift[:, None] * rotated / grown, axis=1)
