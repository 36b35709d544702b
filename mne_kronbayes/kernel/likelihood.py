"""What learning asks of a likelihood of the data, whatever the temporal covariance of the noise."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mne_kronbayes.kernel.posterior import Posterior
from mne_kronbayes.kernel.state import State


class Likelihood(Protocol):
    """Likelihood of the data at a state: its cost, its slopes, and what changes would cost.

    There are two: :class:`~mne_kronbayes.kernel.shared_time.SharedTime` and
    :class:`~mne_kronbayes.kernel.own_time.OwnTime`. They never change in place.

    Attributes
    ----------
    state : State
        Sources, noise and temporal covariance at which the data are judged.
    occam : float
        Weight of the sources' log-determinant (Occam) term, at least 1.
    cost : float
        Type-II cost, which learning lowers: -2 / n_trials times the log-likelihood, without its
        constant ``n_sensors * n_times * log(2 pi)``, plus the penalty of the noise model, plus
        ``occam - 1`` times the sources' part of the log-determinant.
    log_likelihood : float
        Log-likelihood of all trials.
    """

    state: State
    occam: float
    cost: float
    log_likelihood: float

    @property
    def slopes(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Rows whose squares are the slopes of the cost, along sources and along noise.

        Returns
        -------
        source, noise : tuple of ndarray, shape (n, n_sensors)
            Each holds two matrices of rows R, one for the log-determinant and one for the quadratic
            term. Along a column of the gain (of the noise basis), the former rises and the latter
            falls by ``sum((R @ column) ** 2)`` times the number of times.
        """

    def at(self, state: State) -> Likelihood:
        """Return the likelihood of the same data at another state."""

    def update_time(self) -> Likelihood:
        """Return the likelihood after one step of the temporal family, which lowers the cost.

        The trace of the temporal covariance is kept at the number of times where the variances can
        take up the factor.
        """

    def shift_costs(self, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Rise of the cost if the variance of one location alone changed.

        Parameters
        ----------
        gain : ndarray, shape (n_sensors, n * n_orient)
            Gain of the locations.
        shift : ndarray, shape (n,)
            What is added to the variance of each.

        Returns
        -------
        cost : ndarray, shape (n,)
            The rise for each location.
        """

    def posterior(self, components: np.ndarray | None) -> Posterior:
        """Return the posterior of the sources.

        Parameters
        ----------
        components : ndarray, shape (n_times, n_components) | None
            Temporal components onto which the data were projected, None for data as they are.

        Returns
        -------
        posterior : Posterior
            Mean and covariance, in the times of the data.
        """
