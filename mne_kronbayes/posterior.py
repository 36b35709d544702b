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
