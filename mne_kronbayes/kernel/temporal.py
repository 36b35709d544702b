"""Temporal covariances: what learning asks of a family, and the families by name.

A family holds the covariance B of shape (T, T) of the time courses, and lowers the Type-II cost
in B for a fixed spatial covariance.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mne_kronbayes.kernel.families import Full, Identity, Toeplitz
from mne_kronbayes.kernel.stationary import AutoRegressive, SquaredExponential


class TemporalFamily(Protocol):
    """What learning asks of a temporal covariance. Families never change in place.

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
        """Return how many temporal dimensions can be learned from rows (sensors x trials)."""

    def solve(self, rows: np.ndarray) -> np.ndarray:
        """Return rows B^-1, of shape (..., T)."""

    def update(self, rows: np.ndarray, solved: np.ndarray) -> TemporalFamily:
        """Return a family with lower log|B| + tr(B^-1 rows^T rows) / len(rows).

        `solved` is ``self.solve(rows)``.
        """

    def step(self, a: np.ndarray, c: np.ndarray) -> TemporalFamily:
        """Return a family with lower tr(A B) + tr(B^-1 B_0 C B_0), B_0 the covariance now."""

    def normalized(self) -> tuple[TemporalFamily, float]:
        """Return the family scaled to trace T, and the factor that was taken out."""


TEMPORAL: dict[str, type[TemporalFamily]] = {
    "identity": Identity,
    "full": Full,
    "toeplitz": Toeplitz,
    "ar1": AutoRegressive,
    "squared-exponential": SquaredExponential,
}
"""Families by name."""
