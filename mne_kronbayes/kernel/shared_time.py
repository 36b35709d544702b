"""Likelihood of sources and noise that share a temporal covariance: Sigma kron B."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from mne_kronbayes.kernel.linalg import second_moment_root
from mne_kronbayes.kernel.posterior import KroneckerPosterior
from mne_kronbayes.kernel.state import State, orient_slopes, shift_cost


class Kronecker:
    """The data's likelihood at a state, O(M^2 (N + G T)) and what the temporal family takes.

    Parameters
    ----------
    state : State
        Where the learning stands.
    data : ndarray, shape (n_sensors, n_trials, n_times)
        Whitened data.
    occam : float
        How often the sources' part of the log-determinant counts.
    factored : tuple of ndarray | None
        Cholesky factor of Sigma and the data whitened by it, where they are known.

    Attributes
    ----------
    cost : float
        Type-II cost: -2 / G times the log-likelihood, up to ``n_sensors * n_times * log(2 pi)``,
        the penalty of the noise model, and ``(occam - 1) * n_times * (log|Sigma| - log|Lambda|)``.
    log_likelihood : float
        Of all trials.
    """

    def __init__(
        self, state: State, data: np.ndarray, occam: float = 1.0, factored: tuple | None = None
    ):
        self.state, self._data, self.occam = state, data, occam
        n_sensors, n_trials, n_times = data.shape
        self._chol, self._rows = factored or self._factor()
        self._solved = state.time.solve(self._rows)
        log_det = 2 * np.sum(np.log(np.diag(self._chol)))
        cost = n_times * log_det + n_sensors * state.time.log_det
        cost += np.vdot(self._rows, self._solved) / n_trials
        self.log_likelihood = -n_trials / 2 * (cost + n_sensors * n_times * np.log(2 * np.pi))
        self.cost = cost + n_times * state.noise.penalty
        if occam != 1:
            noise = np.linalg.slogdet(state.noise.covariance)[1]
            self.cost += (occam - 1) * n_times * (log_det - noise)

    def _factor(self) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factor of Sigma, and the data whitened in space as rows over time."""
        sigma = self.state.source_covariance + self.state.noise.covariance
        chol = cholesky(sigma, lower=True, overwrite_a=True, check_finite=False)
        flat = self._data.reshape(len(chol), -1)
        return chol, solve_triangular(chol, flat, lower=True).reshape(-1, self._data.shape[2])

    def update_time(self) -> Kronecker:
        """Return the likelihood after a step of the temporal family.

        If the noise is learned, the factor that keeps its trace moves into sources and noise.
        """
        state = self.state
        time, factor = state.time.update(self._rows, self._solved), 1.0
        if state.noise.n_parameters:
            time, factor = time.normalized()
        state = replace(
            state, gamma=factor * state.gamma, noise=state.noise.scaled(factor), time=time
        )
        root = np.sqrt(factor)
        factored = root * self._chol, self._rows / root
        return Kronecker(state, self._data, self.occam, factored)

    @cached_property
    def slopes(self):
        """Rows whose squares are the slopes of log-determinant and quadratic term.

        Returns
        -------
        source, noise : tuple of ndarray, shape (n, n_sensors)
            For each, rows R with the slopes ``sum((R @ column) ** 2)`` along a column of the gain
            (of the noise basis): of the log-determinant, and of the quadratic term. Divided
            by the number of times.
        """
        n_sensors, n_trials, n_times = self._data.shape
        inverse = solve_triangular(self._chol, np.eye(n_sensors), lower=True)
        moment = self._rows.reshape(n_sensors, -1) @ self._solved.reshape(n_sensors, -1).T
        fit = second_moment_root(moment / (n_times * n_trials)) @ inverse
        return self.state.counted((inverse, fit), (inverse, fit), self.occam)

    def shift_costs(self, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Rise of the cost if the variance of one location alone changed, O(n M^2).

        Parameters
        ----------
        gain : ndarray, shape (n_sensors, n * n_orient)
            Gain of the locations.
        shift : ndarray, shape (n,)
            What is added to their variances.

        Returns
        -------
        cost : ndarray, shape (n,)
            The rise.
        """
        s, q = orient_slopes(self.slopes[0], gain, self.state.n_orient)
        return self._data.shape[2] * shift_cost(shift, s / self.occam, q, self.occam)

    def posterior(self, components: np.ndarray | None) -> KroneckerPosterior:
        """Posterior of the active sources; `components` are the temporal ones of the data."""
        state = self.state
        half = solve_triangular(self._chol, state.prior_gain, lower=True)
        kernel = solve_triangular(self._chol, half, lower=True, trans="T").T
        blocks = half.reshape(len(half), -1, state.n_orient)
        covariance = state.prior - np.einsum("mni,mnj->nij", blocks, blocks)
        if state.time.column is not None:
            variance = np.full(self._data.shape[2], state.time.column[0])
        elif components is None:
            variance = np.diag(state.time.covariance)
        else:
            variance = np.sum(components @ state.time.covariance * components, axis=1)
        return KroneckerPosterior(kernel, covariance, variance)
