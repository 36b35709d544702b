"""What learning changes: the sources, their variances, the noise and the temporal covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mne_kronbayes.kernel.noise import NoiseModel
from mne_kronbayes.kernel.temporal import TemporalFamily

_FAINT = 1e-3  # amplitude of an orientation, as a share of the strongest, that counts as none


@dataclass(frozen=True, eq=False)
class State:
    """Sources, their variances, the noise and the temporal covariance.

    A source is an active location. States never change in place.

    Attributes
    ----------
    gain : ndarray, shape (n_sensors, n_active * n_orient)
        Gain of the active locations, times the root C of each (see `orient`).
    active : ndarray of int, shape (n_active,)
        Indices of the active locations among all.
    gamma : ndarray, shape (n_active,)
        Prior variance of each active location, the mean over its components.
    orient : ndarray, shape (n_active, n_orient, n_orient)
        Root C of the prior covariance gamma C C^T between the components of each location. Its
        squared norm is n_orient; it is the identity where all components share one variance.
    noise : NoiseModel
        Noise covariance.
    time : TemporalFamily
        Temporal covariance of the sources.
    """

    gain: np.ndarray
    active: np.ndarray
    gamma: np.ndarray
    orient: np.ndarray
    noise: NoiseModel
    time: TemporalFamily

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
    def n_orient(self) -> int:
        """Number of components of a location."""
        return self.orient.shape[1]

    @property
    def prior_gain(self) -> np.ndarray:
        """Prior covariance between the data and the components, shape of the gain."""
        return self._times(self.gamma[:, None, None] * self.orient.transpose(0, 2, 1))

    def _times(self, right: np.ndarray) -> np.ndarray:
        """Multiply the gain of each location by a matrix of its own."""
        blocks = self.gain.reshape(len(self.gain), -1, self.n_orient).transpose(1, 0, 2)
        return (blocks @ right).transpose(1, 0, 2).reshape(self.gain.shape)

    def keep(self, kept: np.ndarray) -> State:
        """Return the state with only those active locations for which a mask is true."""
        return replace(
            self,
            gain=self.gain[:, np.repeat(kept, self.n_orient)],
            active=self.active[kept],
            gamma=self.gamma[kept],
            orient=self.orient[kept],
        )

    def transform_orient(self, root: np.ndarray) -> State:
        """Return the state with the covariance gamma C R R^T C^T for each location.

        Parameters
        ----------
        root : ndarray, shape (n_active, n_orient, n_orient)
            The roots R.

        Returns
        -------
        state : State
            The new state. Orientations with less than a millionth of the strongest one's
            variance are switched off.
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
