"""Stationary temporal covariances with one shape parameter, which a formula gives."""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy.optimize import minimize_scalar

from mne_kronbayes.kernel.families import FLOOR, ByLags
from mne_kronbayes.kernel.linalg import (
    Moment,
    diagonal_sums,
    inverse_trace,
    levinson,
    shifted_sums,
)


class Stationary(ByLags):
    """A stationary covariance with one shape parameter: a family of formulas.

    A subclass gives `bounds` and `start` of the parameter and the method `correlation`. The
    covariance is a learned variance times the correlation and the white floor. An update
    searches the positive `parameter` between half and twice its value. It costs O(T) for each
    value tried where few samples predict the next as well as all, else O(T^2).
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

    def _shape(self, parameter: float) -> np.ndarray:
        column = self.correlation(self._lags, parameter)
        column[0] += FLOOR
        return column / column[0]

    def _put(self, parameter: float, variance: float) -> None:
        self.parameter = parameter
        self._set(variance * self._shape(parameter))

    def _searched(self, objective):
        """Return the family at the best parameter, or at the present one if none is better.

        `objective` takes the first column of a correlation matrix and returns the cost and the
        best variance.
        """

        def cost(parameter):
            return objective(self._shape(parameter))[0]

        low, high = self.bounds  # search nearby, since the cost may have several minima
        near = max(low, self.parameter / 2), min(high, self.parameter * 2)
        best = minimize_scalar(cost, bounds=near, method="bounded", options={"xatol": 1e-4})
        parameter = min(self.parameter, best.x, key=cost)
        new = copy(self)
        new._put(parameter, objective(self._shape(parameter))[1])
        return new

    def update(self, rows, solved):
        """Search for the parameter and variance with the least log|B| + tr(B^-1 M)."""
        moment = Moment(rows)

        def objective(column):
            predictor, errors = levinson(column)
            variance = moment.inverse_trace(predictor / errors[-1]) / len(column)
            return np.log(errors).sum() + len(column) * np.log(variance), variance

        return self._searched(objective)

    def step(self, a, c):
        """Search for the parameter and variance with the least value of the majorizer."""
        sums = 2 * diagonal_sums(a)
        sums[0] /= 2
        moment = shifted_sums(self.covariance @ c @ self.covariance)

        def objective(column):
            predictor, errors = levinson(column)
            n, last = len(predictor), len(column) - len(predictor) + 1
            head, tail = moment[:n, :n], moment[last:, last:]
            rise, fall = sums @ column, inverse_trace(predictor / errors[-1], head, tail)
            return rise * fall, np.sqrt(fall / rise)

        return self._searched(objective)


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
