"""Posterior of the sources: mean and covariance, applied to one trial at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Posterior(Protocol):
    """Gaussian posterior of the active locations, given all that was learned.

    Attributes
    ----------
    kernel : ndarray, shape (n_active * n_orient, n_sensors)
        Spatial part of the linear estimator, one row for each component.
    """

    kernel: np.ndarray

    def mean(self, data: np.ndarray) -> np.ndarray:
        """Return the posterior mean.

        Parameters
        ----------
        data : ndarray, shape (..., n_sensors, n_times)
            Whitened data of one trial or of several.

        Returns
        -------
        mean : ndarray, shape (..., n_active * n_orient, n_times)
            Time course of each component.
        """

    def covariances(self) -> np.ndarray:
        """Return the covariance between the components of each location at each time.

        Returns
        -------
        covariances : ndarray, shape (n_active, n_orient, n_orient, n_times)
            The same for every trial.
        """


@dataclass(frozen=True, eq=False, repr=False)
class SharedTimePosterior:
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

    def mean(self, data):
        """Return the posterior mean, which estimates each time by itself."""
        return self.kernel @ data

    def covariances(self):
        """Return the covariance between the components of each location at each time."""
        return self.covariance[..., None] * self.time_variance


@dataclass(frozen=True, eq=False, repr=False)
class OwnTimePosterior:
    """Posterior when the noise has a temporal covariance of its own.

    The bases E and F are those of :mod:`mne_kronbayes.kernel.own_time`.

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

    def mean(self, data):
        """Return the posterior mean, which draws on all times of a trial."""
        return self.kernel @ (self.weights * (self.space @ data @ self.time)) @ self.back

    def covariances(self):
        """Return the covariance between the components of each location at each time."""
        n_orient = self.prior.shape[1]
        kernel = self.kernel.reshape(-1, n_orient, len(self.space))
        power = self.back**2
        covariances = self.prior[..., None] * (self.spectrum @ power)
        for i in range(n_orient):
            for j in range(n_orient):
                explained = (kernel[:, i] * kernel[:, j]) @ (self.weights * self.spectrum)
                covariances[:, i, j] -= explained @ power
        return covariances
