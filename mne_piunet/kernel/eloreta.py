"""Pseudo-inverse of a whitened gain by eLORETA, for several regularizations at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

LAMBDAS = (0.005, 0.05, 0.5)
"""Regularizations of the estimates that the network sees, in units of the mean eigenvalue of the
weighted gain's Gram matrix."""

_WEIGHT_LAMBDA = 0.05  # regularization with which the weights are found
_MAX_ITER, _TOL = 20, 1e-3
_PART = 2048  # locations at a time, to save memory


@dataclass(frozen=True, eq=False)
class PseudoInverse:
    r"""Pseudo-inverses :math:`W^{-1} L^\top (L W^{-1} L^\top + \lambda I)^{-1}` that share W.

    The estimate with regularization k is ``back @ filters()[k] @ data``.

    Attributes
    ----------
    back : ndarray, shape (n_locations * n_orient, n_sensors)
        :math:`W^{-1} L^\top U`, with U the eigenvectors of :math:`L W^{-1} L^\top`.
    basis : ndarray, shape (n_sensors, n_sensors)
        The eigenvectors U.
    eigenvalues : ndarray, shape (n_sensors,)
        Eigenvalues, of mean 1.
    """

    back: np.ndarray
    basis: np.ndarray
    eigenvalues: np.ndarray

    def filters(self, lambdas: Sequence[float] = LAMBDAS) -> np.ndarray:
        """Map data to the eigenvectors, damped as each regularization asks.

        Parameters
        ----------
        lambdas : sequence of float
            Regularizations.

        Returns
        -------
        filters : ndarray, shape (n_lambdas, n_sensors, n_sensors)
            One matrix for each regularization.
        """
        gains = 1 / (self.eigenvalues + np.asarray(lambdas)[:, None])
        return gains[:, :, None] * self.basis.T


def eloreta(gain: np.ndarray, n_orient: int = 3) -> PseudoInverse:
    r"""Find the weights of eLORETA (Pascual-Marqui 2007, equations 37 to 40).

    The block :math:`W_n` of location n is the fixed point of
    :math:`W_n = (L_n^\top (L W^{-1} L^\top + \lambda I)^{-1} L_n)^{1/2}`, which localizes every
    single source exactly when there is no noise.

    Parameters
    ----------
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Whitened gain L of full row rank.
    n_orient : int
        Number of components of a location.

    Returns
    -------
    inverse : PseudoInverse
        The pseudo-inverse.

    Notes
    -----
    One iteration takes :math:`O(M^2 N)` for M sensors and N components. There are usually fewer
    than 20 iterations.

    References
    ----------
    Pascual-Marqui, R. D. (2007). Discrete, 3D distributed, linear imaging methods of electric
    neuronal activity. Part 1: exact, zero error localization. arXiv:0710.3341.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_piunet.kernel.eloreta import eloreta
    >>> gain = np.random.default_rng(0).standard_normal((20, 300))
    >>> inverse = eloreta(gain)
    >>> estimate = inverse.back @ inverse.filters([0.05])[0] @ gain[:, 12]
    >>> int(np.linalg.norm(estimate.reshape(100, 3), axis=1).argmax())
    4
    """
    eye = np.eye(len(gain), dtype=gain.dtype)
    n_locations = gain.shape[1] // n_orient
    inverse = _unit(np.broadcast_to(eye[:n_orient, :n_orient], (n_locations, n_orient, n_orient)))
    for _ in range(_MAX_ITER):
        root = np.linalg.cholesky(_gram(gain, inverse)[0] + _WEIGHT_LAMBDA * eye)
        previous, inverse = inverse, np.empty_like(inverse)
        for some, columns in _parts(gain, n_orient):
            white = columns.reshape(-1, len(gain)).T
            white = solve_triangular(root, white, lower=True, check_finite=False)
            white = white.T.reshape(columns.shape)
            inverse[some] = _inverse_root(white @ white.transpose(0, 2, 1))
        inverse = _unit(inverse)
        if np.linalg.norm(inverse - previous) < _TOL:
            break
    gram, scale = _gram(gain, inverse)
    eigenvalues, basis = np.linalg.eigh(gram)
    back = np.empty(gain.shape[::-1], gain.dtype)
    for some, columns in _parts(gain, n_orient):
        weighted = scale * (inverse[some] @ columns)
        back.reshape(n_locations, n_orient, -1)[some] = weighted @ basis
    return PseudoInverse(back, basis, np.maximum(eigenvalues, 0))


def _unit(blocks: np.ndarray) -> np.ndarray:
    """Scale blocks to a common norm of 1."""
    return blocks / np.linalg.norm(blocks)


def _parts(gain: np.ndarray, n_orient: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield parts of the locations with their columns, shape (n_part, n_orient, n_sensors)."""
    for start in range(0, gain.shape[1], _PART * n_orient):
        columns = np.ascontiguousarray(gain[:, start : start + _PART * n_orient].T)
        columns = columns.reshape(-1, n_orient, len(gain))
        yield slice(start // n_orient, start // n_orient + len(columns)), columns


def _gram(gain: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, float]:
    """Scale L W^-1 L^T, made exactly symmetric, to mean eigenvalue 1; return the scale, too."""
    gram = np.zeros((len(gain), len(gain)), gain.dtype)
    for some, columns in _parts(gain, inverse.shape[1]):
        weighted = inverse[some] @ columns
        gram += columns.reshape(-1, len(gain)).T @ weighted.reshape(-1, len(gain))
    scale = len(gain) / np.trace(gram)
    return scale * (gram + gram.T) / 2, scale


def _inverse_root(blocks: np.ndarray) -> np.ndarray:
    """Invert the square roots of positive blocks; those without any signal become zero."""
    values, vectors = np.linalg.eigh(blocks)
    values = np.maximum(values, 1e-6 * values[:, -1:])
    root = np.zeros_like(values)
    np.divide(1, np.sqrt(values), out=root, where=values > np.finfo(blocks.dtype).tiny)
    return (vectors * root[:, None, :]) @ vectors.transpose(0, 2, 1)
