"""What was learned, in arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz

from mne_kronbayes.kernel.likelihood import Likelihood
from mne_kronbayes.kernel.posterior import Posterior


@dataclass(frozen=True, eq=False, repr=False)
class DughResult:
    """What :func:`~mne_kronbayes.kernel.loop.dugh` learned.

    Attributes
    ----------
    posterior : Posterior
        Posterior of the active locations.
    active : ndarray of int, shape (n_active,)
        Active locations, that is those that are not switched off.
    source_variance : ndarray, shape (n_locations,)
        Learned prior variance of each location, the mean over its components, 0 where switched off.
    source_covariance : ndarray, shape (n_active, n_orient, n_orient)
        Learned prior covariance between the components of each active location.
    noise_variance : ndarray, shape (n_noise,)
        Learned variances along the noise basis (for a full covariance, of the sensors).
    noise_covariance : ndarray, shape (n_sensors, n_sensors)
        Learned noise covariance.
    autocovariance : ndarray, shape (n_times,) | (n_components, n_components)
        First column of the learned temporal covariance if that is Toeplitz, else the whole,
        between the temporal components.
    components : ndarray, shape (n_times, n_components) | None
        Orthonormal temporal components that were used, None for all.
    n_parameters : int
        Number of variances and covariances learned; a source that keeps one of three orientations
        has three.
    log_likelihood : float
        Log-likelihood of the whitened data, given all that was learned. NaN where `components`
        leave some of the data out.
    cost : ndarray, shape (n_iter,)
        Cost before each sweep and after the last; with `select`, relative to the price of all
        locations. It never rises.
    converged : bool
        Whether the relative decrease fell below the tolerance.
    """

    posterior: Posterior
    active: np.ndarray
    source_variance: np.ndarray
    source_covariance: np.ndarray
    noise_variance: np.ndarray
    noise_covariance: np.ndarray
    autocovariance: np.ndarray
    components: np.ndarray | None
    n_parameters: int
    log_likelihood: float
    cost: np.ndarray
    converged: bool

    def mean(self, data: np.ndarray) -> np.ndarray:
        """Return the posterior mean of all locations, zero where they are switched off.

        Parameters
        ----------
        data : ndarray, shape (n_trials, n_sensors, n_times)
            Whitened data, as long as those learned from.

        Returns
        -------
        mean : ndarray, shape (n_trials, n_locations * n_orient, n_times)
            Time course of each component.
        """
        n_orient = self.source_covariance.shape[1]
        n_trials, _, n_times = data.shape
        mean = np.zeros((n_trials, len(self.source_variance), n_orient, n_times))
        found = self.posterior.mean(data)
        mean[:, self.active] = found.reshape(n_trials, -1, n_orient, n_times)
        return mean.reshape(n_trials, -1, n_times)

    @property
    def n_times(self) -> int:
        """Number of samples of a trial."""
        return len(self.autocovariance if self.components is None else self.components)

    @property
    def temporal_covariance(self) -> np.ndarray:
        """Learned temporal covariance B, shape (n_times, n_times).

        With learned noise its trace is the number of temporal dimensions used (n_times, for
        "full" with little data fewer).
        """
        learned = self.autocovariance
        if learned.ndim == 1:
            return toeplitz(learned)
        return learned if self.components is None else self.components @ learned @ self.components.T


def summarize(
    likelihood: Likelihood, *, n_locations: int, components: np.ndarray | None, learn_orient: bool,
    cost: list[float], converged: bool,
) -> DughResult:  # fmt: skip
    """Make the result of learning from the likelihood at which it ended.

    Parameters
    ----------
    likelihood : Likelihood
        The last likelihood.
    n_locations : int
        Number of all locations.
    components : ndarray, shape (n_times, n_components) | None
        Temporal components that were used, None for all.
    learn_orient : bool
        Whether the covariances between components were learned.
    cost : list of float
        Cost before each sweep and after the last.
    converged : bool
        Whether the relative decrease fell below the tolerance.

    Returns
    -------
    result : DughResult
        The result.
    """
    state, noise, time = likelihood.state, likelihood.state.noise, likelihood.state.time
    rank = state.orient.any(axis=1).sum(axis=1)
    n_free = rank * state.n_orient - rank * (rank - 1) // 2 if learn_orient else np.ones_like(rank)
    source_variance = np.zeros(n_locations)
    source_variance[state.active] = state.gamma
    return DughResult(
        posterior=likelihood.posterior(components),
        active=state.active,
        source_variance=source_variance,
        source_covariance=state.prior,
        noise_variance=noise.variance,
        noise_covariance=noise.covariance,
        autocovariance=time.covariance if time.column is None else time.column,
        components=components,
        n_parameters=int(n_free.sum()) + noise.n_parameters + time.n_parameters,
        log_likelihood=likelihood.log_likelihood if components is None else np.nan,
        cost=np.array(cost),
        converged=converged,
    )
