"""Noise models: how the spatial covariance of the sensors' own noise is learned.

A model holds the noise covariance Lambda and, from its state L_0, lowers for exponent 1/2

    tr(A Lambda) + tr(Lambda^-1 L_0 C L_0) + penalty,

which majorizes the Type-II cost. A and C arrive as rows R_a, R_c with A = R_a^T R_a and
C = R_c^T R_c. A larger exponent takes a longer step, which is kept only where the cost falls.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky

from mne_kronbayes.kernel.linalg import solve_riccati

_BASELINE = 4  # times the samples that a full covariance is given as known; 1 may explain all
_FAINT = 1e10  # power of the data in units of a fixed noise: more, and posterior variances drown


class NoiseModel(Protocol):
    """What learning asks of a noise model. Models never change in place.

    Parameters
    ----------
    basis : ndarray, shape (n_sensors, n_noise)
        Columns along which the given noise is independent with variance 1.
    level : float
        Factor of the given noise covariance to start from.
    floor : float
        Least variance.
    n_samples : int
        Number of samples of the data: times of all trials.

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

    def __init__(self, basis: np.ndarray, level: float, floor: float, n_samples: int): ...

    def step(self, a_rows: np.ndarray, c_rows: np.ndarray, exponent: float) -> NoiseModel:
        """Return the model after one step."""

    def scaled(self, factor: float) -> NoiseModel:
        """Return the model times a factor."""


class _Independent:
    """Noise that is independent along a basis, with the covariance basis diag(v) basis^T."""

    penalty = 0.0

    def __init__(self, basis: np.ndarray, level: float, floor: float, n_samples: int):
        self._basis = basis
        self._floor = floor
        self.variance = np.full(basis.shape[1], level)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance Lambda."""
        return (self._basis * self.variance) @ self._basis.T

    def step(self, a_rows, c_rows, exponent):
        """Multiply the variances by a power of the ratio of the slopes."""
        slopes = (np.sum((rows @ self._basis) ** 2, axis=0) for rows in (c_rows, a_rows))
        variance = self.variance * self._ratio(*slopes) ** exponent
        new = copy(self)
        new.variance = np.maximum(variance, np.minimum(self._floor, self.variance))
        return new

    def scaled(self, factor):
        """Scale the variances."""
        new = copy(self)
        new.variance = factor * self.variance
        return new


class Fixed(_Independent):
    """Noise as given."""

    n_parameters = 0

    def __init__(self, basis: np.ndarray, level: float, floor: float, n_samples: int):
        if level > _FAINT:
            raise ValueError(
                f'noise="fixed" takes the noise as given, but that has only {0.5 / level:.0e} of '
                'the power of the data: pass noise="scalar", or check the units of data and '
                "noise covariance."
            )
        super().__init__(basis, 1.0, 0.0, n_samples)

    def step(self, a_rows, c_rows, exponent):
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

    Such noise alone could explain all data. So the cost also counts samples of a baseline: four
    times as many as there are samples of data and sensors together. They have the given
    covariance S, whose scale s is learned. With w of them for each sample of data, they add
    w (log|Lambda| + s tr(Lambda^-1 S) - M log s).
    """

    def __init__(self, basis: np.ndarray, level: float, floor: float, n_samples: int):
        self._given = basis @ basis.T
        self._floor = self._least = floor
        self._weight = _BASELINE * (1 + len(basis) / n_samples)
        self._set(level * self._given)

    def _set(self, covariance: np.ndarray) -> None:
        self.covariance = (covariance + covariance.T) / 2
        self._factor = cholesky(self.covariance, lower=True), True
        n_sensors = len(covariance)
        distance = np.trace(cho_solve(self._factor, self._given))
        self._scale = max(n_sensors / distance, self._least)
        log_det = 2 * np.log(np.diag(self._factor[0])).sum()
        penalty = log_det + self._scale * distance - n_sensors * np.log(self._scale)
        self.penalty = self._weight * penalty

    @property
    def variance(self) -> np.ndarray:
        """Variances of the sensors."""
        return np.diag(self.covariance)

    @property
    def n_parameters(self) -> int:
        """Number of distinct elements."""
        return len(self.covariance) * (len(self.covariance) + 1) // 2

    def step(self, a_rows, c_rows, exponent):
        """Solve for the minimum of the majorizer: any exponent takes this one step."""
        moved = c_rows @ self.covariance
        precision = cho_solve(self._factor, np.eye(len(self.covariance)))
        a = a_rows.T @ a_rows + self._weight * precision
        c = moved.T @ moved + self._weight * self._scale * self._given
        new = copy(self)
        new._set(solve_riccati(a, c))
        return new

    def scaled(self, factor):
        """Scale the covariance."""
        new = copy(self)
        new._least = min(factor * self._least, self._floor)
        new._set(factor * self.covariance)
        return new


NOISE: dict[str, type[NoiseModel]] = dict(
    fixed=Fixed, scalar=Scalar, diagonal=Diagonal, full=FullNoise
)
"""Models by name."""
