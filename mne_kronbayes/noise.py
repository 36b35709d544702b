"""Noise models: how the spatial covariance of the sensors' own noise is learned.

A model holds the noise covariance Lambda and, from its state L_0, lowers for exponent 1/2

    tr(A Lambda) + tr(Lambda^-1 L_0 C L_0) + penalty,

which majorizes the Type-II cost. A and C arrive as rows R_a, R_c with A = R_a^T R_a and
C = R_c^T R_c. A larger exponent takes a longer step, which the loop keeps only where the cost
falls. The models never change in place.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky

from mne_kronbayes.linalg import solve_riccati


class NoiseModel(Protocol):
    """What the loop asks of a noise model.

    Parameters
    ----------
    basis : ndarray, shape (n_sensors, n_noise)
        Columns along which the given noise is independent with variance 1.
    level : float
        Factor of the given noise covariance to start from.

    Attributes
    ----------
    covariance : ndarray, shape (n_sensors, n_sensors)
        The covariance Lambda.
    variance : ndarray
        Its variances: along the basis, or of the sensors.
    penalty : float
        What the model adds to the cost, for each time sample.
    n_parameters : int
        Number of values learned.
    """

    covariance: np.ndarray
    variance: np.ndarray
    penalty: float
    n_parameters: int

    def __init__(self, basis: np.ndarray, level: float): ...

    def step(self, a_rows, c_rows, exponent: float, floor: float) -> NoiseModel:
        """Return the model after one step; variances do not fall below `floor`."""

    def scaled(self, factor: float) -> NoiseModel:
        """Return the model times a factor."""


class _Independent:
    """Noise that is independent along a basis, with the covariance basis diag(v) basis^T."""

    penalty = 0.0

    def __init__(self, basis: np.ndarray, level: float):
        self._basis = basis
        self.variance = np.full(basis.shape[1], level)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance Lambda."""
        return (self._basis * self.variance) @ self._basis.T

    def _with(self, variance: np.ndarray):
        new = copy(self)
        new.variance = variance
        return new

    def step(self, a_rows, c_rows, exponent, floor):
        """Multiply the variances by a power of the ratio of the slopes."""
        slopes = (np.sum((rows @ self._basis) ** 2, axis=0) for rows in (c_rows, a_rows))
        variance = self.variance * self._ratio(*slopes) ** exponent
        return self._with(np.maximum(variance, np.minimum(floor, self.variance)))

    def scaled(self, factor):
        """Scale the variances."""
        return self._with(factor * self.variance)


class Fixed(_Independent):
    """Noise as given."""

    n_parameters = 0

    def __init__(self, basis: np.ndarray, level: float):
        super().__init__(basis, 1.0)

    def step(self, a_rows, c_rows, exponent, floor):
        """Return the model as it is."""
        return self


class Scalar(_Independent):
    """One factor for the whole noise covariance."""

    n_parameters = 1

    @staticmethod
    def _ratio(numerator, denominator):
        return numerator.sum() / denominator.sum()


class Diagonal(_Independent):
    """A variance of its own for each sensor (Dugh, heteroscedastic noise)."""

    @property
    def n_parameters(self) -> int:
        """Number of variances."""
        return len(self.variance)

    @staticmethod
    def _ratio(numerator, denominator):
        return numerator / denominator


class FullNoise:
    """Any covariance, shrunk toward the shape of the given one.

    Alone, such noise could explain all data. So the cost counts as many samples of baseline as
    there are of data: with the given covariance S and a learned scale s, the penalty is
    log|Lambda| + s tr(Lambda^-1 S) - M log s for each sample.
    """

    def __init__(self, basis: np.ndarray, level: float):
        self._given = basis @ basis.T
        self._set(level * self._given)

    def _set(self, covariance: np.ndarray) -> None:
        self.covariance = (covariance + covariance.T) / 2
        self._factor = cholesky(self.covariance, lower=True), True
        n_sensors = len(covariance)
        self._scale = n_sensors / np.trace(cho_solve(self._factor, self._given))
        log_det = 2 * np.log(np.diag(self._factor[0])).sum()
        self.penalty = log_det + n_sensors * (1 - np.log(self._scale))

    @property
    def variance(self) -> np.ndarray:
        """Variances of the sensors."""
        return np.diag(self.covariance)

    @property
    def n_parameters(self) -> int:
        """Number of distinct elements."""
        return len(self.covariance) * (len(self.covariance) + 1) // 2

    def step(self, a_rows, c_rows, exponent, floor):
        """Solve for the minimum of the majorizer: any exponent takes this one step."""
        moved = c_rows @ self.covariance
        a = a_rows.T @ a_rows + cho_solve(self._factor, np.eye(len(self.covariance)))
        new = copy(self)
        new._set(solve_riccati(a, moved.T @ moved + self._scale * self._given))
        return new

    def scaled(self, factor):
        """Scale the covariance."""
        new = copy(self)
        new._set(factor * self.covariance)
        return new


NOISE: dict[str, type[NoiseModel]] = dict(
    fixed=Fixed, scalar=Scalar, diagonal=Diagonal, full=FullNoise
)
"""Models by name."""
