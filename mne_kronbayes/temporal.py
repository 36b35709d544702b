"""Temporal covariance families: one small class each, one dict.

A family holds the covariance B of shape (T, T) that sources and noise share, and lowers the
Type-II cost in B for fixed spatial covariance. All but the identity are of the form

    B = S + floor * tr(S) / T * I,

which keeps the condition number of B bounded when the recording is band-limited, without a
projection: the majorization-minimization update of S then uses, in the place of a matrix X,
its adjoint image X + floor * tr(X) / T * I.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import cho_solve, cholesky, solve_triangular, toeplitz

FLOOR = 1e-6
"""Least white share of a temporal covariance (-60 dB)."""

ROWS_PER_COMPONENT = 4
"""Rows (sensors x trials) that a full covariance needs for each of its dimensions."""


class TemporalFamily(Protocol):
    """What the loop asks of a temporal covariance.

    Parameters
    ----------
    n_times : int
        The number of times T.

    Attributes
    ----------
    covariance : ndarray, shape (T, T)
        The covariance B.
    log_det : float
        log |B|.
    """

    covariance: np.ndarray
    log_det: float

    def __init__(self, n_times: int): ...

    @staticmethod
    def n_components(n_rows: int, n_times: int) -> int:
        """Temporal dimensions that so many rows (sensors x trials) can teach it."""

    def whiten(self, rows: np.ndarray) -> np.ndarray:
        """Return rows Z of shape (..., T) with Z Z^T = rows B^-1 rows^T."""

    def update(self, rows: np.ndarray) -> None:
        """Lower log|B| + tr(B^-1 M), M = rows^T rows / len(rows)."""

    def normalize(self) -> float:
        """Scale B to trace T and return the factor taken out."""


class Identity:
    """White time courses: B = I (Champagne, sparse Bayesian learning)."""

    def __init__(self, n_times: int):
        self.covariance = np.eye(n_times)
        self.log_det = 0.0

    @staticmethod
    def n_components(n_rows, n_times):
        """Return all: there is nothing to learn."""
        return n_times

    def whiten(self, rows):
        """Return the rows as they are."""
        return rows

    def update(self, rows):
        """Do nothing."""

    def normalize(self):
        """Return 1."""
        return 1.0


class _Dense:
    """A covariance kept as a matrix with its Cholesky factor. O(T^3) an update."""

    def __init__(self, n_times: int):
        self._set(np.eye(n_times))

    @staticmethod
    def n_components(n_rows, n_times):
        """Return all: the families have few parameters."""
        return n_times

    def _set(self, covariance: np.ndarray) -> None:
        self.covariance = covariance
        self._chol = cholesky(covariance, lower=True)
        self.log_det = 2 * np.log(np.diag(self._chol)).sum()

    def whiten(self, rows):
        """Solve with the Cholesky factor."""
        return solve_triangular(self._chol, rows.reshape(-1, rows.shape[-1]).T, lower=True).T

    def normalize(self):
        """Scale the covariance and what it is made of."""
        scale = np.trace(self.covariance) / len(self.covariance)
        self._scale(1 / scale)
        self._set(self.covariance / scale)
        return scale


class Full(_Dense):
    """Any positive definite covariance; Riemannian update (Dugh, Theorem 3).

    S solves S A S = S_0 C S_0, A and C the adjoint images of B^-1 and B^-1 M B^-1; with no
    floor this is the geometric mean B # M.

    The rank of M is at most the number of rows: were there fewer rows than times, B would
    explain any data for any sources. It is therefore learned on the leading temporal
    components, four rows for each.
    """

    def __init__(self, n_times: int):
        super().__init__(n_times)
        self._s = np.eye(n_times) / (1 + FLOOR)

    @staticmethod
    def n_components(n_rows, n_times):
        """Return a quarter of the rows, at most all times."""
        return min(n_times, max(1, n_rows // ROWS_PER_COMPONENT))

    def update(self, rows):
        """Take one majorization-minimization step."""
        n_times = len(self.covariance)
        white = np.eye(n_times) * (FLOOR / n_times)
        a = cho_solve((self._chol, True), np.eye(n_times))
        solved = cho_solve((self._chol, True), rows.T)
        c = solved @ solved.T / len(rows)
        a, c = (x + white * np.trace(x) for x in (a, c))
        root = cholesky((a + a.T) / 2, lower=True)
        inner = root.T @ self._s @ c @ self._s @ root
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        half = vectors * np.sqrt(np.sqrt(np.maximum(values, 0)))
        half = solve_triangular(root, half, lower=True, trans="T")
        self._s = half @ half.T
        self._set(self._s + white * np.trace(self._s))

    def _scale(self, factor):
        self._s *= factor


class Toeplitz(_Dense):
    """Stationary time courses: B = Q diag(p) Q^H, Q the first T rows of a unitary DFT.

    Updates the spectrum p of a circulant embedding of size K >= 2 T - 1
    (Dugh, Theorem 4 and Proposition 3).
    """

    def __init__(self, n_times: int):
        super().__init__(n_times)
        self._size = next_fast_len(2 * n_times - 1, real=True)
        self._p = np.ones(self._size // 2 + 1) / (1 + FLOOR)  # half of a symmetric spectrum

    def _spectrum(self, rows: np.ndarray) -> np.ndarray:
        """Diagonal of Q^H rows^T rows Q for the non-negative frequencies."""
        return (np.abs(rfft(rows, self._size, axis=-1)) ** 2).sum(axis=0) / self._size

    def _mean(self, p: np.ndarray) -> float:
        """Mean over the whole spectrum of which `p` is the non-negative half."""
        return irfft(p, self._size)[0]

    def update(self, rows):
        """Take one majorization-minimization step."""
        n_times = len(self.covariance)
        d = self._spectrum(cho_solve((self._chol, True), rows.T).T) / len(rows)
        z = self._spectrum(solve_triangular(self._chol, np.eye(n_times), lower=True))
        d, z = (x + FLOOR * self._mean(x) for x in (d, z))
        self._p = self._p * np.sqrt(d / z)
        p = self._p + FLOOR * self._mean(self._p)
        self._set(toeplitz(irfft(p, self._size)[:n_times]))

    def _scale(self, factor):
        self._p = self._p * factor


TEMPORAL: dict[str, type[TemporalFamily]] = dict(identity=Identity, full=Full, toeplitz=Toeplitz)
"""Families by name."""
