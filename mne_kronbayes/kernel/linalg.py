"""Linear algebra of symmetric positive definite matrices, dense and Toeplitz."""

from __future__ import annotations

from copy import copy
from functools import cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.sparse import csc_array, eye_array, hstack

_LOOK = 16  # order of a predictor at which it may turn out to be complete, and each double of it


def second_moment_root(moment: np.ndarray) -> np.ndarray:
    """Return rows R with R^T R = moment, as many as its rank. O(n^3).

    Parameters
    ----------
    moment : ndarray, shape (n, n)
        Symmetric positive semi-definite matrix. Eigenvalues that rounding made negative count as
        zero.

    Returns
    -------
    root : ndarray, shape (rank, n)
        The rows.
    """
    values, vectors = np.linalg.eigh((moment + moment.T) / 2)
    keep = values > values[-1] * len(values) * np.finfo(float).eps
    return np.sqrt(values[keep])[:, None] * vectors[:, keep].T


def solve_riccati(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Positive definite S with S A S = C: the geometric mean of A^-1 and C. O(n^3).

    Parameters
    ----------
    a : ndarray, shape (..., n, n)
        Symmetric positive definite.
    c : ndarray, shape (..., n, n)
        Symmetric positive semi-definite.

    Returns
    -------
    s : ndarray, shape (..., n, n)
        The solution; it minimizes ``tr(A S) + tr(S^-1 C)``.
    """
    root = np.linalg.cholesky(a).swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(root @ c @ root.swapaxes(-1, -2))
    return _mean_from(root, np.sqrt(np.maximum(values, 0)), vectors)


def solve_riccati_of_root(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """As :func:`solve_riccati` for C = G G^T: small eigenvalues of S are more accurate. O(n^3).

    Parameters
    ----------
    a : ndarray, shape (n, n)
        Symmetric positive definite.
    g : ndarray, shape (n, n)
        The root G.

    Returns
    -------
    s : ndarray, shape (n, n)
        The solution.
    """
    root = np.linalg.cholesky(a).T
    vectors, values, _ = np.linalg.svd(root @ g)
    return _mean_from(root, values, vectors)


def _mean_from(root: np.ndarray, values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """S of which ``root S root^T`` has these eigenvalues and eigenvectors."""
    half = np.linalg.solve(root, vectors * np.sqrt(values)[..., None, :])
    return half @ half.swapaxes(-1, -2)


class ToeplitzInverse:
    """The inverse of a positive definite Toeplitz matrix, without forming it.

    Levinson's recursion finds its first column in O(T^2). By the formula of Gohberg and Semencul
    (1972), this column determines the whole, and products with it take O(T log T).

    Parameters
    ----------
    column : ndarray, shape (T,)
        First column of the matrix.

    Attributes
    ----------
    log_det : float
        Log-determinant of the matrix (not of its inverse).
    """

    def __init__(self, column: np.ndarray):
        predictor, errors = levinson(column)
        self.log_det = float(np.log(errors).sum())
        n_times = len(column)
        self._x = np.zeros(n_times)  # first column of the inverse
        self._x[: len(predictor)] = predictor / errors[-1]
        self._size = next_fast_len(2 * n_times - 1, real=True)
        self._forward = rfft(self._x, self._size)
        self._backward = rfft(np.r_[0, self._x[:0:-1]], self._size)

    def solve(self, rows: np.ndarray) -> np.ndarray:
        """Multiply rows by the inverse.

        Parameters
        ----------
        rows : ndarray, shape (..., T)
            The rows.

        Returns
        -------
        solved : ndarray, shape (..., T)
            ``rows @ inverse``.
        """
        n_times = len(self._x)
        spectrum = rfft(rows, self._size)

        def triangular(factor):  # T(x) T(x)^T, lower triangular Toeplitz
            upper = irfft(spectrum * factor.conj(), self._size)[..., :n_times]
            return rfft(upper, self._size) * factor

        both = triangular(self._forward) - triangular(self._backward)
        return irfft(both, self._size)[..., :n_times] / self._x[0]

    def scaled(self, factor: float) -> ToeplitzInverse:
        """Return the inverse of the matrix times a factor."""
        new = copy(self)
        new.log_det = self.log_det + len(self._x) * float(np.log(factor))
        new._x, new._forward, new._backward = (
            part / factor for part in (self._x, self._forward, self._backward)
        )
        return new

    def diagonal_sums(self) -> np.ndarray:
        """Sum the inverse along each diagonal, shape (T,), the main one first. O(T log T)."""
        n_times = len(self._x)
        ramp = rfft(np.arange(n_times) * self._x, self._size).conj()
        plain = irfft(np.abs(self._forward) ** 2, self._size)[:n_times]
        weighted = irfft(ramp * self._forward, self._size)[:n_times]
        return ((n_times - np.arange(n_times)) * plain - 2 * weighted) / self._x[0]


def diagonal_sums(matrix: np.ndarray) -> np.ndarray:
    """Sum a square matrix along each diagonal from the main one up, shape (T,). O(T^2)."""
    return np.array([np.trace(matrix, k) for k in range(len(matrix))])


def shifted_sums(matrix: np.ndarray) -> np.ndarray:
    """Sum the matrix from each element on along its diagonal, shape (T, T). O(T^2)."""
    sums = matrix.copy()
    for below, row in zip(sums[:0:-1], sums[-2::-1], strict=True):
        row[:-1] += below[1:]
    return sums


def inverse_trace(first: np.ndarray, head: np.ndarray, tail: np.ndarray) -> float:
    """Trace of the inverse of a Toeplitz matrix times a symmetric matrix. O(n^2).

    Parameters
    ----------
    first : ndarray, shape (n,)
        First column of the inverse, without the zeros at its end.
    head : ndarray, shape (n, n)
        The first rows and columns of :func:`shifted_sums` of the symmetric matrix.
    tail : ndarray, shape (n - 1, n - 1)
        The last ones.

    Returns
    -------
    trace : float
        The trace, by the formula of Gohberg and Semencul.
    """
    back = first[:0:-1]
    return (first @ head @ first - back @ tail @ back) / first[0]


class Moment:
    """Second moment of rows over time, M = rows^T rows / n, for many traces with inverses.

    An inverse whose first column has n entries before its zeros needs the sums over all times at n
    lags, and the n first and last times of each row: O(T log T + n^2) a row, and no matrix of
    size T.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, T)
        The rows.
    """

    def __init__(self, rows: np.ndarray):
        self._rows = rows
        size = next_fast_len(2 * rows.shape[1] - 1, real=True)
        self._lags = irfft(np.sum(np.abs(rfft(rows, size)) ** 2, axis=0), size) / len(rows)
        self._ends = cache(self._sum_ends)

    def inverse_trace(self, first: np.ndarray) -> float:
        """Trace of M times the inverse of a Toeplitz matrix.

        Parameters
        ----------
        first : ndarray, shape (n,)
            First column of the inverse, without the zeros at its end.

        Returns
        -------
        trace : float
            The trace.
        """
        return inverse_trace(first, *self._ends(len(first)))

    def _sum_ends(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """First and last rows and columns of the shifted sums of M."""
        begin, end = self._rows[:, : n - 1], self._rows[:, self._rows.shape[1] - n + 1 :]
        head = np.empty((n, n))
        head[0] = head[:, 0] = self._lags[:n]
        for k, row in enumerate(begin.T @ begin / len(begin)):
            head[k + 1, 1:] = head[k, :-1] - row
        return head, shifted_sums(end.T @ end / len(end))


def mirror_bases(n_times: int) -> list[csc_array]:
    """Orthonormal bases of the vectors that are the same backwards, and of those that change sign.

    In these bases, a symmetric matrix that is the same when rows and columns are reversed, as
    Toeplitz matrices are, has two blocks on its diagonal (Cantoni & Butler 1976).

    Parameters
    ----------
    n_times : int
        Length T of the vectors.

    Returns
    -------
    bases : list of csc_array, shape (T, (T + 1) // 2), (T, T // 2)
        The bases in columns.

    References
    ----------
    Cantoni, A. & Butler, P. (1976). Eigenvalues and eigenvectors of symmetric centrosymmetric
    matrices. Linear Algebra and its Applications 13, 275-288.
    """
    straight = eye_array(n_times, format="csc")
    turned = straight[:, ::-1]
    half, middle = n_times // 2, straight[:, n_times // 2 : (n_times + 1) // 2]
    pairs = (straight + turned)[:, :half], (straight - turned)[:, :half]
    same, opposite = (pair / np.sqrt(2) for pair in pairs)
    return [hstack([same, middle], format="csc"), opposite]


def levinson(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best linear predictor of a stationary series and its errors. O(T^2).

    Where few samples predict a series as well as all, as in autoregressive series, it takes O(T).

    Parameters
    ----------
    column : ndarray, shape (T,)
        Autocovariance, the first column of a positive definite Toeplitz matrix.

    Returns
    -------
    predictor : ndarray, shape (n,)
        Prediction error filter of order T - 1, which begins with 1, without the zeros at its end.
    errors : ndarray, shape (T,)
        Prediction error variance of each order; their product is the determinant.
    """
    n_times = len(column)
    predictor = np.zeros(n_times)
    predictor[0] = 1.0
    errors = np.empty(n_times)
    errors[0] = error = column[0]
    look = _LOOK
    for k in range(1, n_times):
        if k == look:
            if _predicts_all(predictor[:k], column):
                errors[k:] = error
                return predictor[:k], errors
            look *= 2
        reflection = -(predictor[:k] @ column[k:0:-1]) / error
        predictor[1 : k + 1] += reflection * predictor[k - 1 :: -1][:k]
        error *= 1 - reflection * reflection
        if not error > 0:
            raise np.linalg.LinAlgError("The Toeplitz matrix is not positive definite.")
        errors[k] = error
    return predictor, errors


def _predicts_all(predictor: np.ndarray, column: np.ndarray) -> bool:
    """Is all that a filter leaves unexplained, at longer lags than its own, due to rounding."""
    rounding = np.finfo(float).eps * column[0] * np.abs(predictor).sum()
    last = predictor @ column[len(predictor) : 0 : -1]  # a quick look before the long one
    if abs(last) > rounding:
        return False
    left = np.convolve(predictor, column)[len(predictor) : len(column)]
    return bool(np.abs(left).max() <= rounding)
