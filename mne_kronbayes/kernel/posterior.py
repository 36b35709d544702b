"""Posterior of the active sources: mean and covariance, applied to one trial at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class KroneckerPosterior:
    """Posterior when sources and noise share a temporal covariance B.

    Attributes
    ----------
    kernel : ndarray, shape (n_active * n_orient, n_sensors)
        Gamma L^T Sigma^-1.
    covariance : ndarray, shape (n_active, n_orient, n_orient)
        Blocks of Gamma - Gamma L^T Sigma^-1 L Gamma, one for each location.
    time_variance : ndarray, shape (n_times,)
        Diagonal of B.
    """

    kernel: np.ndarray
    covariance: np.ndarray
    time_variance: np.ndarray

    def mean(self, data: np.ndarray) -> np.ndarray:
        """Estimate the sources of trials.

        Parameters
        ----------
        data : ndarray, shape (..., n_sensors, n_times)
            Whitened data.

        Returns
        -------
        sources : ndarray, shape (..., n_active * n_orient, n_times)
            Posterior mean.
        """
        return self.kernel @ data

    def covariances(self) -> np.ndarray:
        """Covariance between the components of each location and time.

        Returns
        -------
        covariances : ndarray, shape (n_active, n_orient, n_orient, n_times)
            The same for every trial.
        """
        return self.covariance[..., None] * self.time_variance


@dataclass(frozen=True, eq=False)
class SeparablePosterior:
    """Posterior when the noise has a temporal covariance of its own, see `separable`.

    Attributes
    ----------
    kernel : ndarray, shape (n_active * n_orient, n_sensors)
        Gamma L^T E^T.
    prior : ndarray, shape (n_active, n_orient, n_orient)
        Prior covariance of each location.
    space : ndarray, shape (n_sensors, n_sensors)
        Spatial basis E.
    time : ndarray, shape (n_times, n_components)
        Temporal basis F.
    back : ndarray, shape (n_components, n_times)
        Its inverse.
    weights : ndarray, shape (n_sensors, n_components)
        b_k / (1 + d_m b_k).
    spectrum : ndarray, shape (n_components,)
        b_k.
    """

    kernel: np.ndarray
    prior: np.ndarray
    space: np.ndarray
    time: np.ndarray
    back: np.ndarray
    weights: np.ndarray
    spectrum: np.ndarray

    def mean(self, data: np.ndarray) -> np.ndarray:
        """Estimate the sources of trials.

        Parameters
        ----------
        data : ndarray, shape (..., n_sensors, n_times)
            Whitened data.

        Returns
        -------
        sources : ndarray, shape (..., n_active * n_orient, n_times)
            Posterior mean.
        """
        return self.kernel @ (self.weights * (self.space @ data @ self.time)) @ self.back

    def covariances(self) -> np.ndarray:
        """Covariance between the components of each location and time.

        Returns
        -------
        covariances : ndarray, shape (n_active, n_orient, n_orient, n_times)
            The same for every trial.
        """
        n_orient = self.prior.shape[1]
        kernel = self.kernel.reshape(-1, n_orient, len(self.space))
        power = self.back**2
        covariances = self.prior[..., None] * (self.spectrum @ power)
        for i in range(n_orient):
            for j in range(n_orient):
                seen = (kernel[:, i] * kernel[:, j]) @ (self.weights * self.spectrum)
                covariances[:, i, j] -= seen @ power
        return covariances
