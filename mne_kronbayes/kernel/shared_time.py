"""Likelihood when sources and noise share a temporal covariance B.

The data then have the covariance Sigma kron B, Sigma = L Gamma L^T + Lambda.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from mne_kronbayes.kernel.linalg import second_moment_root
from mne_kronbayes.kernel.posterior import SharedTimePosterior
from mne_kronbayes.kernel.slopes import orient_slopes, shift_cost, weigh_slopes
from mne_kronbayes.kernel.state import State


class SharedTime:
    """A :class:`~mne_kronbayes.kernel.likelihood.Likelihood` with the covariance Sigma kron B.

    It takes O(M^2 (N + G T)), and what the temporal family takes. The Occam term of its cost is
    ``n_times * (log|Sigma| - log|Lambda|)``.

    Parameters
    ----------
    state : State
        Sources, noise and temporal covariance.
    data : ndarray, shape (n_sensors, n_trials, n_times)
        Whitened data.
    occam : float
        Weight of the sources' log-determinant (Occam) term.
    least : float
        Least variance of the noise at which the temporal covariance still changes. Of data without
        noise, a smaller and smaller covariance would explain ever more.
    factored : tuple of ndarray | None
        Cholesky factor of Sigma and the data whitened by it, where they are known.
    """

    def __init__(
        self, state: State, data: np.ndarray, occam: float = 1.0, least: float = 0.0,
        factored: tuple | None = None,
    ):  # fmt: skip
        self.state, self._data, self.occam, self._least = state, data, occam, least
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

    def at(self, state):
        """Return the likelihood of the same data at another state."""
        return SharedTime(state, self._data, self.occam, self._least)

    def update_time(self):
        """Return the likelihood after one step of the temporal family.

        If the noise is learned, the factor that keeps the trace moves into sources and noise.
        """
        state = self.state
        moved = state.time.update(self._rows, self._solved)
        time, factor = moved.normalized()
        if factor * state.noise.variance.min() < self._least:
            return self
        if not state.noise.n_parameters:
            time, factor = moved, 1.0
        state = replace(
            state, gamma=factor * state.gamma, noise=state.noise.scaled(factor), time=time
        )
        root = np.sqrt(factor)
        factored = root * self._chol, self._rows / root
        return SharedTime(state, self._data, self.occam, self._least, factored)

    @cached_property
    def slopes(self):
        """Rows whose squares are the slopes of the cost, along sources and along noise."""
        n_sensors, n_trials, n_times = self._data.shape
        inverse = solve_triangular(self._chol, np.eye(n_sensors), lower=True)
        moment = self._rows.reshape(n_sensors, -1) @ self._solved.reshape(n_sensors, -1).T
        fit = second_moment_root(moment / (n_times * n_trials)) @ inverse
        rows = inverse, fit
        return weigh_slopes(rows, rows, self.state.noise, self.occam)

    def shift_costs(self, gain, shift):
        """Rise of the cost if the variance of one location alone changed, O(n M^2)."""
        s, q = orient_slopes(self.slopes[0], gain, self.state.n_orient)
        return self._data.shape[2] * shift_cost(shift, s / self.occam, q, self.occam)

    def posterior(self, components):
        """Return the posterior of the sources."""
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
        return SharedTimePosterior(kernel, covariance, variance)
