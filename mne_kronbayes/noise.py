"""Noise models: how the variances of the sensors' own noise are learned, one function each.

Noise enters as one more set of sources, with the columns of a noise basis as their gain. A
model turns the numerator and denominator of the majorization-minimization update, one entry
a sensor, into the factor squared by which the variances change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def fixed(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Noise as given: the factor is 1."""
    return np.ones_like(numerator)


def scalar(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """One factor for the whole noise covariance."""
    return np.full_like(numerator, numerator.sum() / denominator.sum())


def diagonal(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A variance of its own for each sensor (Dugh, heteroscedastic noise)."""
    return numerator / denominator


NOISE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = dict(
    fixed=fixed, scalar=scalar, diagonal=diagonal
)
"""Models by name."""
