"""Where the learning stands: the active sources and all covariances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from mne_kronbayes.kernel.noise import NoiseModel
from mne_kronbayes.kernel.temporal import TemporalFamily

_WIDE = 4096  # columns of a gain that are seen at once; wider ones in single precision
_FAINT = 1e-3  # amplitude of an orientation, as a share of the strongest, that counts as none


@dataclass(frozen=True, eq=False)
class State:
    """Active sources, their variances, the noise and the temporal covariance.

    Attributes
    ----------
    gain : ndarray, shape (n_sensors, n_active * n_orient)
        Gain of the active sources, times the root C of each (`orient`).
    active : ndarray of int, shape (n_active,)
        Their locations in the whole gain.
    gamma : ndarray, shape (n_active,)
        Prior variance of each location, the mean of its components.
    orient : ndarray, shape (n_active, n_orient, n_orient)
        Root C of the prior covariance gamma C C^T of each location, whose squared norm is n_orient:
        the identity where all orientations are alike.
    noise : NoiseModel
        Noise covariance.
    time : TemporalFamily
        Temporal covariance.
    """

    gain: np.ndarray
    active: np.ndarray
    gamma: np.ndarray
    orient: np.ndarray
    noise: NoiseModel
    time: TemporalFamily

    @property
    def n_orient(self) -> int:
        """Components of a location."""
        return self.orient.shape[1]

    @property
    def source_covariance(self) -> np.ndarray:
        """Covariance of the sources' field at the sensors, O(M^2 N)."""
        half = self.gain * np.repeat(np.sqrt(self.gamma), self.n_orient)
        return half @ half.T  # a symmetric product: half the work

    @property
    def prior(self) -> np.ndarray:
        """Prior covariance of each location, shape (n_active, n_orient, n_orient)."""
        return self.gamma[:, None, None] * self.orient @ self.orient.transpose(0, 2, 1)

    @property
    def prior_gain(self) -> np.ndarray:
        """Covariance of the data with the active sources, shape of the gain."""
        return self._times(self.gamma[:, None, None] * self.orient.transpose(0, 2, 1))

    def _times(self, right: np.ndarray) -> np.ndarray:
        """Gain of each location times a matrix of its own."""
        blocks = self.gain.reshape(len(self.gain), -1, self.n_orient).transpose(1, 0, 2)
        return (blocks @ right).transpose(1, 0, 2).reshape(self.gain.shape)

    def counted(self, source: tuple, noise: tuple, occam: float) -> tuple:
        """Slopes where the sources' part of the log-determinant counts more than once.

        The cost is then ``occam`` times the whole log-determinant, less ``occam - 1`` times that
        of the noise. This last term is convex, and -log|Lambda| is at most
        tr(Lambda^-1 Lambda_0) - log|Lambda_0| - M, as if the data had more of the noise.

        Parameters
        ----------
        source, noise : tuple of ndarray
            Rows of the slopes of log-determinant and quadratic term, counted once.
        occam : float
            How often the sources' part counts, at least once.

        Returns
        -------
        source, noise : tuple of ndarray
            Rows of the slopes.
        """
        if occam == 1:
            return source, noise
        root = np.sqrt(occam)
        chol = cholesky(self.noise.covariance, lower=True)
        more = np.sqrt(occam - 1) * solve_triangular(chol, np.eye(len(chol)), lower=True)
        return (root * source[0], source[1]), (root * noise[0], np.vstack([noise[1], more]))

    def keep(self, kept: np.ndarray) -> State:
        """Return the state with the locations of a mask only."""
        return replace(
            self,
            gain=self.gain[:, np.repeat(kept, self.n_orient)],
            active=self.active[kept],
            gamma=self.gamma[kept],
            orient=self.orient[kept],
        )

    def turn(self, root: np.ndarray) -> State:
        """Return the state with the covariance gamma C R R^T C^T of each location.

        Parameters
        ----------
        root : ndarray, shape (n_active, n_orient, n_orient)
            The roots R.

        Returns
        -------
        state : State
            Orientations with less than a millionth of the strongest one's variance are off.
        """
        u, s, vh = np.linalg.svd(self.orient @ root)
        s[s < _FAINT * s[:, :1]] = 0
        scale = np.sqrt(np.mean(s**2, axis=1))[:, None]
        living = (s > 0) / scale
        return replace(
            self,
            gain=self._times(root @ vh.transpose(0, 2, 1) * living[:, None]),
            gamma=self.gamma * scale[:, 0] ** 2,
            orient=u * (s / scale)[:, None],
        )


def location_slopes(rows, gain: np.ndarray, n_orient: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of log-determinant and quadratic term along the variance of each location.

    Parameters
    ----------
    rows : tuple of ndarray, shape (n, n_sensors)
        Rows R for each of the two: its slope along a column of the gain is the squared norm of
        ``R @ column``.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Gain of the locations.
    n_orient : int
        Components of a location.

    Returns
    -------
    log_slope, fit_slope : ndarray, shape (n_locations,)
        How fast the one rises and the other falls.
    """
    dtype = float if gain.shape[1] <= _WIDE else np.float32
    slopes = np.empty((2, gain.shape[1]))
    for start in range(0, gain.shape[1], _WIDE):
        part = slice(start, start + _WIDE)
        columns = gain[:, part].astype(dtype, copy=False)
        for slope, one in zip(slopes, rows, strict=True):
            seen = one.astype(dtype, copy=False) @ columns
            slope[part] = np.einsum("rn,rn->n", seen, seen)
    return tuple(slopes.reshape(2, -1, n_orient).sum(axis=2))


def orient_slopes(rows, gain: np.ndarray, n_orient: int) -> tuple[np.ndarray, np.ndarray]:
    """As `location_slopes`, between the components of each location.

    Parameters
    ----------
    rows : tuple of ndarray, shape (n, n_sensors)
        As for :func:`location_slopes`.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Gain of the locations.
    n_orient : int
        Components of a location.

    Returns
    -------
    log_slope, fit_slope : ndarray, shape (n_locations, n_orient, n_orient)
        Slopes along the covariance of each location.
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
        How often the log-determinant counts.

    Returns
    -------
    cost : ndarray, shape (n,)
        The rise, occam log|I + shift s| - shift tr((I + shift s)^-1 q).
    """
    values, vectors = np.linalg.eigh(s)
    grown = np.maximum(1 + shift[:, None] * values, np.finfo(float).eps)
    turned = np.einsum("nia,nij,nja->na", vectors, q, vectors)
    return np.sum(occam * np.log(grown) - shift[:, None] * turned / grown, axis=1)
