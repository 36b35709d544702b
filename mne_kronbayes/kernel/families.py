"""Temporal covariances of any shape: white, full and Toeplitz.

All but the identity have the form

    B = S + floor * tr(S) / T * I,

which keeps the condition number of B bounded when the recording is band-limited, without a
projection. The majorization-minimization update of S then uses, in place of a matrix X, its
adjoint image X + floor * tr(X) / T * I.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import cho_solve, cholesky, toeplitz

from mne_kronbayes.kernel.linalg import ToeplitzInverse, diagonal_sums, solve_riccati_of_root

FLOOR = 1e-6
"""Least white share of a temporal covariance (-60 dB)."""

ROWS_PER_COMPONENT = 4
"""Rows (sensors x trials) that a full covariance needs for each of its dimensions."""


class Identity:
    """White time courses: B = I (Champagne, sparse Bayesian learning)."""

    log_det = 0.0
    n_parameters = 0

    def __init__(self, n_times: int):
        self._n_times = n_times

    @property
    def covariance(self) -> np.ndarray:
        """The identity."""
        return np.eye(self._n_times)

    @property
    def column(self) -> np.ndarray:
        """First column of the identity."""
        return np.eye(1, self._n_times)[0]

    @staticmethod
    def n_components(n_rows, n_times):
        """Return all: there is nothing to learn."""
        return n_times

    def solve(self, rows):
        """Return the rows as they are."""
        return rows

    def update(self, rows, solved):
        """Return the family as it is."""
        return self

    def step(self, a, c):
        """Return the family as it is."""
        return self

    def normalized(self):
        """Return the family as it is, and 1."""
        return self, 1.0


class Full:
    """Any positive definite covariance; Riemannian update (Dugh, Theorem 3). O(T^3) an update.

    S solves S A S = S_0 C S_0, A and C the adjoint images of B^-1 and B^-1 M B^-1; with no
    floor this is the geometric mean B # M.

    The rank of M is at most the number of rows. With fewer rows than times, B could explain
    any data, whatever the sources. So B is learned on the leading temporal components, four
    rows for each.
    """

    column = None

    def __init__(self, n_times: int):
        self._compose(np.eye(n_times) / (1 + FLOOR))

    def _compose(self, s: np.ndarray) -> None:
        self._s = s
        self.covariance = s + np.eye(len(s)) * (FLOOR * np.trace(s) / len(s))
        self._factor = cholesky(self.covariance, lower=True), True
        self.log_det = 2 * np.log(np.diag(self._factor[0])).sum()

    @staticmethod
    def n_components(n_rows, n_times):
        """Return a quarter of the rows, at most all times."""
        return min(n_times, max(1, n_rows // ROWS_PER_COMPONENT))

    @property
    def n_parameters(self) -> int:
        """Number of distinct elements."""
        return len(self._s) * (len(self._s) + 1) // 2

    def solve(self, rows):
        """Solve with the Cholesky factor."""
        flat = rows.reshape(-1, rows.shape[-1])
        return cho_solve(self._factor, flat.T).T.reshape(rows.shape)

    def update(self, rows, solved):
        """Take one majorization-minimization step."""
        return self.step(self.solve(np.eye(len(self.covariance))), solved.T @ solved / len(solved))

    def step(self, a, c):
        """Solve for the minimum of the majorizer."""
        white = np.eye(len(a)) * (FLOOR / len(a))
        a, c = (x + white * np.trace(x) for x in (a, c))
        new = copy(self)
        new._compose(solve_riccati_of_root(a, self._s @ np.linalg.cholesky(c)))
        return new

    def normalized(self):
        """Scale the covariance to trace T."""
        scale = np.trace(self.covariance) / len(self.covariance)
        new = copy(self)
        new._compose(self._s / scale)
        return new, scale


class ByLags:
    """A Toeplitz covariance, kept by its first column and its inverse. No matrix is formed."""

    column: np.ndarray

    @staticmethod
    def n_components(n_rows, n_times):
        """Return all: a window of T samples can teach as many lags."""
        return n_times

    @property
    def covariance(self) -> np.ndarray:
        """The covariance B, made when asked for."""
        return toeplitz(self.column)

    def _set(self, column: np.ndarray) -> None:
        self.column = column
        self._inverse = ToeplitzInverse(column)

    @property
    def log_det(self) -> float:
        """Log-determinant, log |B|."""
        return self._inverse.log_det

    def solve(self, rows):
        """Multiply by the inverse, O(T log T) a row."""
        return self._inverse.solve(rows)

    def normalized(self):
        """Scale the covariance to trace T."""
        scale = self.column[0]
        new = copy(self)
        new.column, new._inverse = self.column * (1 / scale), self._inverse.scaled(1 / scale)
        return new, scale


class Toeplitz(ByLags):
    """Stationary time courses: B = Q diag(p) Q^H, Q the first T rows of a unitary DFT.

    Updates the spectrum p of a circulant embedding of size K >= 2 T - 1 (Dugh, Theorem 4 and
    Proposition 3). No matrix is formed: an update with n rows costs O(n T log T + T^2).
    """

    def __init__(self, n_times: int):
        self._n_times = n_times
        self._size = next_fast_len(2 * n_times - 1, real=True)
        self._compose(np.ones(self._size // 2 + 1) / (1 + FLOOR))

    def _compose(self, p: np.ndarray) -> None:
        """Set the non-negative frequencies of the symmetric spectrum."""
        self._p = p
        self._set(irfft(p + FLOOR * self._mean(p), self._size)[: self._n_times])

    @property
    def n_parameters(self) -> int:
        """Number of lags."""
        return self._n_times

    def _mean(self, p: np.ndarray) -> float:
        """Mean over the whole spectrum of which `p` is the non-negative half."""
        return irfft(p, self._size)[0]

    def update(self, rows, solved):
        """Take one majorization-minimization step."""
        power = (np.abs(rfft(solved, self._size)) ** 2).sum(axis=0) / self._size
        return self._move(self._power(self._inverse.diagonal_sums()), power / len(solved))

    def step(self, a, c):
        """Take one majorization-minimization step."""
        return self._move(self._power(diagonal_sums(a)), self._power(diagonal_sums(c)))

    def _power(self, sums: np.ndarray) -> np.ndarray:
        """Diagonal of Q^H X Q for the non-negative frequencies, given the diagonal sums of X."""
        return (2 * rfft(sums, self._size).real - sums[0]) / self._size

    def _move(self, z: np.ndarray, d: np.ndarray) -> Toeplitz:
        """Update the spectrum, given the powers of A and C."""
        d, z = (x + FLOOR * self._mean(x) for x in (d, z))
        new = copy(self)
        new._compose(self._p * np.sqrt(d / z))
        return new

    def normalized(self):
        """Scale the spectrum to trace T."""
        new, scale = super().normalized()
        new._p = self._p / scale
        return new, scale
