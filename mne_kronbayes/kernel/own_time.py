"""Likelihood when the noise has a temporal covariance Upsilon of its own.

The data then have the covariance L Gamma L^T kron B + Lambda kron Upsilon. One basis of space, E,
and one of time, F, diagonalize both terms at once:

    E Lambda E^T = I,  E L Gamma L^T E^T = diag(d);   F^T Upsilon F = I,  F^T B F = diag(b),

so in these coordinates the data E Y F are independent with the variances 1 + d_m b_k, and no
matrix of size M T is ever formed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.sparse import eye_array

from mne_kronbayes.kernel.linalg import mirror_bases, second_moment_root
from mne_kronbayes.kernel.posterior import OwnTimePosterior
from mne_kronbayes.kernel.slopes import shift_cost, weigh_slopes
from mne_kronbayes.kernel.state import State
from mne_kronbayes.kernel.temporal import TemporalFamily


class NoiseTime:
    """Temporal covariance Upsilon of the noise, and its common basis with that of the sources.

    Parameters
    ----------
    covariance : ndarray, shape (n_times, n_times)
        Upsilon, positive definite.

    Attributes
    ----------
    covariance : ndarray, shape (n_times, n_times)
        Upsilon, as given.
    log_det : float
        log |Upsilon|.
    """

    def __init__(self, covariance: np.ndarray):
        self.covariance = covariance
        self.log_det = 2 * np.sum(np.log(np.diag(cholesky(covariance, lower=True))))
        self._whole = [eye_array(len(covariance), format="csc")]
        mirrored = np.array_equal(covariance, covariance[::-1, ::-1])
        self._halves = mirror_bases(len(covariance)) if mirrored else self._whole
        self._time = None

    def basis(self, time: TemporalFamily) -> tuple[np.ndarray, np.ndarray]:
        """Diagonalize Upsilon and B, O(T^3). The last result is kept.

        Where both are Toeplitz, two problems of half the size take a quarter of the time that one
        of full size takes.

        Parameters
        ----------
        time : TemporalFamily
            Temporal covariance B of the sources.

        Returns
        -------
        b : ndarray, shape (n_times,)
            Variances of the sources in units of those of the noise.
        f : ndarray, shape (n_times, n_times)
            The basis F.
        """
        if time is not self._time:
            parts = self._whole if time.column is None else self._halves
            pairs = [eigh(*(q.T @ x @ q for x in (time.covariance, self.covariance)))
                     for q in parts]  # fmt: skip
            b = np.concatenate([values for values, _ in pairs])
            f = np.hstack([q @ vectors for q, (_, vectors) in zip(parts, pairs, strict=True)])
            self._time, self._basis = time, (np.maximum(b, 0), f)
        return self._basis


class OwnTime:
    """A :class:`~mne_kronbayes.kernel.likelihood.Likelihood` with noise Lambda kron Upsilon.

    It takes O(M^2 (N + G T) + M G T^2 + M^3), and O(T^3) more for each new temporal covariance of
    the sources. The Occam term of its cost is the sum of ``log(1 + d_m b_k)``.

    Parameters
    ----------
    state : State
        Sources, noise and temporal covariance of the sources.
    data : ndarray, shape (n_sensors, n_trials, n_times)
        Whitened data.
    noise_time : NoiseTime
        Temporal covariance Upsilon of the noise.
    occam : float
        Weight of the sources' log-determinant (Occam) term.
    """

    def __init__(self, state: State, data: np.ndarray, noise_time: NoiseTime, occam: float = 1.0):
        self.state, self._data, self._noise_time = state, data, noise_time
        self.occam = occam
        n_sensors, n_trials, n_times = data.shape
        chol = cholesky(state.noise.covariance, lower=True)
        half = solve_triangular(chol, state.source_covariance, lower=True)
        d, vectors = np.linalg.eigh(solve_triangular(chol, half.T, lower=True))
        self._space = solve_triangular(chol, vectors, lower=True, trans="T").T  # E
        self._b, self._time = noise_time.basis(state.time)  # b, F
        self._d = np.maximum(d, 0)
        ratio = np.outer(self._d, self._b)
        self._weights = 1 / (1 + ratio)
        flat = self._space @ data.reshape(n_sensors, -1)
        coordinates = flat.reshape(data.shape) @ self._time
        self._solved = self._weights[:, None] * coordinates
        log_det = np.sum(np.log1p(ratio))
        cost = 2 * n_times * np.sum(np.log(np.diag(chol))) + log_det
        cost += n_sensors * noise_time.log_det
        cost += np.vdot(self._solved, coordinates) / n_trials
        self.log_likelihood = -n_trials / 2 * (cost + n_sensors * n_times * np.log(2 * np.pi))
        self.cost = cost + n_times * state.noise.penalty + (occam - 1) * log_det

    def at(self, state):
        """Return the likelihood of the same data at another state."""
        return OwnTime(state, self._data, self._noise_time, self.occam)

    def update_time(self):
        """Return the likelihood after one step of the temporal family, whose trace is kept.

        Sources that vanish beside the noise have no time courses to learn from.
        """
        if self._d.max() * self._b.max() < np.finfo(float).eps:
            return self
        state = self.state
        slope = self.occam * (self._time * (self._d @ self._weights)) @ self._time.T
        rows = np.sqrt(self._d)[:, None, None] * self._solved
        rows = rows.reshape(-1, len(self._b)) @ self._time.T
        time, factor = state.time.step(slope, rows.T @ rows / self._data.shape[1]).normalized()
        return self.at(replace(state, gamma=factor * state.gamma, time=time))

    @cached_property
    def slopes(self):
        """Rows whose squares are the slopes of the cost, along sources and along noise."""
        n_sensors, n_trials, n_times = self._data.shape
        pairs = []
        for spectrum in (self._b, np.ones(n_times)):  # of the sources, of the noise
            slope = np.sqrt(self._weights @ spectrum / n_times)[:, None] * self._space
            rows = (self._solved * np.sqrt(spectrum / (n_times * n_trials))).reshape(n_sensors, -1)
            pairs.append((slope, second_moment_root(rows @ rows.T) @ self._space))
        return weigh_slopes(*pairs, self.state.noise, self.occam)

    def _fields(self, gain: np.ndarray) -> np.ndarray:
        """Gain of locations in the coordinates, shape (n, M, n_orient)."""
        blocks = (self._space @ gain).reshape(len(self._space), -1, self.state.n_orient)
        return blocks.transpose(1, 0, 2)

    def shift_costs(self, gain, shift):
        """Rise of the cost if the variance of one location alone changed, O(n M T)."""
        fields = self._fields(gain)
        rows = fields.transpose(0, 2, 1)
        costs = np.zeros(len(shift))
        for k, b in enumerate(self._b):
            s = b * rows @ (self._weights[:, k, None] * fields)
            projected = rows @ self._solved[:, :, k]
            q = b / self._data.shape[1] * projected @ projected.transpose(0, 2, 1)
            costs += shift_cost(shift, s, q, self.occam)
        return costs

    def posterior(self, components):
        """Return the posterior of the sources."""
        state = self.state
        time, back = self._time, self._time.T @ self._noise_time.covariance  # F, F^-1
        if components is not None:
            time, back = components @ time, back @ components.T
        kernel = (self._space @ state.prior_gain).T
        return OwnTimePosterior(
            kernel, state.prior, self._space, time, back, self._weights * self._b, self._b
        )
