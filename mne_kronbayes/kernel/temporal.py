"""Temporal covariance families: one small class each, one dict.

A family holds the covariance B of shape (T, T) of the time courses and lowers the Type-II cost
in B for fixed spatial covariance. All but the identity are of the form

    B = S + floor * tr(S) / T * I,

which keeps the condition number of B bounded when the recording is band-limited, without a
projection: the majorization-minimization update of S then uses, in the place of a matrix X,
its adjoint image X + floor * tr(X) / T * I. Families never change in place.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import cho_solve, cholesky, solve_toeplitz, toeplitz
from scipy.optimize import minimize_scalar

from mne_kronbayes.kernel.linalg import (
    ToeplitzInverse,
    diagonal_sums,
    inverse_trace,
    levinson,
    shifted_sums,
    solve_riccati,
)

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
    column : ndarray, shape (T,) | None
        Its first column if it is Toeplitz.
    log_det : float
        log |B|.
    n_parameters : int
        Number of values learned.
    """

    covariance: np.ndarray
    column: np.ndarray | None
    log_det: float
    n_parameters: int

    def __init__(self, n_times: int): ...

    @staticmethod
    def n_components(n_rows: int, n_times: int) -> int:
        """Temporal dimensions that so many rows (sensors x trials) can teach it."""

    def solve(self, rows: np.ndarray) -> np.ndarray:
        """Return rows B^-1, of shape (..., T)."""

    def update(self, rows: np.ndarray, solved: np.ndarray) -> TemporalFamily:
        """Return a family with lower log|B| + tr(B^-1 rows^T rows) / len(rows).

        `solved` is ``self.solve(rows)``.
        """

    def step(self, a: np.ndarray, c: np.ndarray) -> TemporalFamily:
        """Return a family with lower tr(A B) + tr(B^-1 B_0 C B_0), B_0 the covariance now."""

    def normalized(self) -> tuple[TemporalFamily, float]:
        """Return the family with trace T and the factor taken out."""


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
        self._factor = cholesky(covariance, lower=True), True
        self.log_det = 2 * np.log(np.diag(self._factor[0])).sum()

    def solve(self, rows):
        """Solve with the Cholesky factor."""
        flat = rows.reshape(-1, rows.shape[-1])
        return cho_solve(self._factor, flat.T).T.reshape(rows.shape)

    def update(self, rows, solved):
        """Take one majorization-minimization step."""
        return self.step(self.solve(np.eye(len(self.covariance))), solved.T @ solved / len(solved))

    def normalized(self):
        """Scale the covariance and what it is made of."""
        scale = np.trace(self.covariance) / len(self.covariance)
        return self._scaled(1 / scale), scale


class Full(_Dense):
    """Any positive definite covariance; Riemannian update (Dugh, Theorem 3).

    S solves S A S = S_0 C S_0, A and C the adjoint images of B^-1 and B^-1 M B^-1; with no
    floor this is the geometric mean B # M.

    The rank of M is at most the number of rows: were there fewer rows than times, B would
    explain any data for any sources. It is therefore learned on the leading temporal
    components, four rows for each.
    """

    column = None

    def __init__(self, n_times: int):
        self._compose(np.eye(n_times) / (1 + FLOOR))

    def _compose(self, s: np.ndarray) -> None:
        self._s = s
        self._set(s + np.eye(len(s)) * (FLOOR * np.trace(s) / len(s)))

    @staticmethod
    def n_components(n_rows, n_times):
        """Return a quarter of the rows, at most all times."""
        return min(n_times, max(1, n_rows // ROWS_PER_COMPONENT))

    @property
    def n_parameters(self) -> int:
        """Number of distinct elements."""
        return len(self._s) * (len(self._s) + 1) // 2

    def step(self, a, c):
        """Solve for the minimum of the majorizer."""
        white = np.eye(len(a)) * (FLOOR / len(a))
        a, c = (x + white * np.trace(x) for x in (a, c))
        new = copy(self)
        new._compose(solve_riccati(a, self._s @ c @ self._s))
        return new

    def _scaled(self, factor):
        new = copy(self)
        new._compose(factor * self._s)
        return new


class Toeplitz:
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
        self.column = irfft(p + FLOOR * self._mean(p), self._size)[: self._n_times]
        self._inverse = ToeplitzInverse(self.column)
        self.log_det = self._inverse.log_det

    @staticmethod
    def n_components(n_rows, n_times):
        """Return all: neighbouring frequencies are smoothed by the length of the window."""
        return n_times

    @property
    def covariance(self) -> np.ndarray:
        """The covariance B, made when asked for."""
        return toeplitz(self.column)

    @property
    def n_parameters(self) -> int:
        """Number of lags."""
        return self._n_times

    def _mean(self, p: np.ndarray) -> float:
        """Mean over the whole spectrum of which `p` is the non-negative half."""
        return irfft(p, self._size)[0]

    def solve(self, rows):
        """Multiply by the inverse, O(T log T) a row."""
        return self._inverse.solve(rows)

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
        """Scale the spectrum."""
        scale = self.column[0]
        new = copy(self)
        new._compose(self._p / scale)
        return new, scale


class Stationary(_Dense):
    """A stationary covariance with one shape parameter: a family of formulas.

    A subclass gives `bounds` and `start` of the parameter and the method `correlation`. The
    covariance is a learned variance times the correlation and the white floor. An update
    searches the positive parameter between half and twice its value and costs O(T^2) for each
    value tried.

    Parameters
    ----------
    n_times : int
        The number of times T.

    Attributes
    ----------
    parameter : float
        The learned value.
    """

    bounds: tuple[float, float]
    start: float
    n_parameters = 2

    def __init__(self, n_times: int):
        self._lags = np.arange(n_times)
        self._put(self.start, 1.0)

    def correlation(self, lags: np.ndarray, parameter: float) -> np.ndarray:
        """Correlation at each lag in samples; it must be that of some stationary process."""
        raise NotImplementedError

    @property
    def column(self) -> np.ndarray:
        """First column of the covariance."""
        return self.covariance[0]

    def _shape(self, parameter: float) -> np.ndarray:
        column = self.correlation(self._lags, parameter)
        column[0] += FLOOR
        return column / column[0]

    def _put(self, parameter: float, variance: float) -> None:
        self.parameter = parameter
        self._set(variance * toeplitz(self._shape(parameter)))

    def _searched(self, objective):
        """Return the family at the best parameter, or at the present one if none is better.

        `objective` takes the first column of a correlation matrix and returns the cost and the
        best variance.
        """

        def cost(parameter):
            return objective(self._shape(parameter))[0]

        low, high = self.bounds  # near by: the cost may have several minima
        near = max(low, self.parameter / 2), min(high, self.parameter * 2)
        best = minimize_scalar(cost, bounds=near, method="bounded", options={"xatol": 1e-4})
        parameter = min(self.parameter, best.x, key=cost)
        new = copy(self)
        new._put(parameter, objective(self._shape(parameter))[1])
        return new

    def update(self, rows, solved):
        """Search for the least log|B| + tr(B^-1 M)."""
        moment = shifted_sums(rows.T @ rows / len(rows))

        def objective(column):
            predictor, errors = levinson(column)
            variance = inverse_trace(predictor / errors[-1], moment) / len(column)
            return np.log(errors).sum() + len(column) * np.log(variance), variance

        return self._searched(objective)

    def step(self, a, c):
        """Search for the least value of the majorizer."""
        sums = 2 * diagonal_sums(a)
        sums[0] /= 2
        moment = shifted_sums(self.covariance @ c @ self.covariance)
        unit = np.eye(1, len(sums))[0]

        def objective(column):
            rise, fall = sums @ column, inverse_trace(solve_toeplitz(column, unit), moment)
            return rise * fall, np.sqrt(fall / rise)

        return self._searched(objective)

    def _scaled(self, factor):
        new = copy(self)
        new._set(factor * self.covariance)
        return new


class AutoRegressive(Stationary):
    """Autoregressive time courses of order 1: the correlation falls by a factor each sample.

    Recordings that are low-passed far below half the sampling rate are not of this kind.
    """

    bounds = 0.001, 0.9999
    start = 0.5

    def correlation(self, lags, parameter):
        """Return the powers of the parameter."""
        return parameter**lags


class SquaredExponential(Stationary):
    """Smooth time courses: a Gaussian correlation, as wide as the parameter in samples."""

    bounds = 0.05, 100.0
    start = 1.0

    def correlation(self, lags, parameter):
        """Return a Gaussian."""
        return np.exp(-0.5 * (lags / parameter) ** 2)


TEMPORAL: dict[str, type[TemporalFamily]] = {
    "identity": Identity,
    "full": Full,
    "toeplitz": Toeplitz,
    "ar1": AutoRegressive,
    "squared-exponential": SquaredExponential,
}
"""Families by name."""
