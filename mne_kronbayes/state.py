"""Where the learning stands: the active sources and all covariances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mne_kronbayes.noise import NoiseModel
from mne_kronbayes.temporal import TemporalFamily


@dataclass(frozen=True, eq=False)
class State:
    """Active sources, their variances, the noise and the temporal covariance.

    Attributes
    ----------
    gain : ndarray, shape (n_sensors, n_active * n_orient)
        Gain of the active sources.
    active : ndarray of int, shape (n_active,)
        Their locations in the whole gain.
    gamma : ndarray, shape (n_active,)
        Prior variance of each location.
    noise : NoiseModel
        Noise covariance.
    time : TemporalFamily
        Temporal covariance.
    """

    gain: np.ndarray
    active: np.ndarray
    gamma: np.ndarray
    noise: NoiseModel
    time: TemporalFamily

    @property
    def n_orient(self) -> int:
        """Components of a location."""
        return self.gain.shape[1] // len(self.active)

    @property
    def source_covariance(self) -> np.ndarray:
        """Covariance of the sources' field at the sensors, O(M^2 N)."""
        half = self.gain * np.repeat(np.sqrt(self.gamma), self.n_orient)
        return half @ half.T  # a symmetric product: half the work

    def keep(self, kept: np.ndarray) -> State:
        """Return the state with the locations of a mask only."""
        gain = self.gain[:, np.repeat(kept, self.n_orient)]
        return replace(self, gain=gain, active=self.active[kept], gamma=self.gamma[kept])

    def pruned(self, threshold: float) -> State:
        """Return the state without sources below this share of the largest power at the sensors."""
        power = np.einsum("mn,mn->n", self.gain, self.gain).reshape(-1, self.n_orient).sum(axis=1)
        seen = self.gamma * power
        kept = seen > threshold * seen.max()
        return self if kept.all() else self.keep(kept)


def removal_cost(gamma: np.ndarray, s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Rise of log-determinant and quadratic term when sources are switched off one by one.

    Parameters
    ----------
    gamma : ndarray, shape (n,)
        Their prior variances.
    s, q : ndarray, shape (n, n_orient, n_orient)
        L^T Sigma^-1 L and L^T Sigma^-1 M Sigma^-1 L for the gain L of each, M the second moment
        of the data.

    Returns
    -------
    cost : ndarray, shape (n,)
        The rise, log|I - gamma s| + gamma tr((I - gamma s)^-1 q).
    """
    values, vectors = np.linalg.eigh(s)
    left = np.maximum(1 - gamma[:, None] * values, np.finfo(float).eps)
    turned = np.einsum("nia,nij,nja->na", vectors, q, vectors)
    return np.sum(np.log(left) + gamma[:, None] * turned / left, axis=1)
