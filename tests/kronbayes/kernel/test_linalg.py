"""Toeplitz algebra against dense matrices."""

import numpy as np
import pytest
from scipy.linalg import inv, sqrtm, toeplitz

from mne_kronbayes.kernel.linalg import (
    ToeplitzInverse,
    inverse_trace,
    levinson,
    mirror_bases,
    second_moment_root,
    shifted_sums,
    solve_riccati,
    solve_riccati_of_root,
)

SERIES = dict(
    ar=0.9 ** np.arange(40),
    smooth=np.exp(-0.5 * (np.arange(40) / 5) ** 2) + 1e-6 * (np.arange(40) == 0),
    cosine=np.cos(0.7 * np.arange(40)) + 1e-3 * (np.arange(40) == 0),
    single=np.array([2.0]),
)
each = pytest.mark.parametrize("kind", sorted(SERIES))


@each
def test_toeplitz_inverse_is_the_dense_one(kind):
    column = SERIES[kind]
    matrix = toeplitz(column)
    inverse = ToeplitzInverse(column)
    rows = np.random.default_rng(0).standard_normal((2, 3, len(column)))
    size = np.abs(inv(matrix)).max()
    np.testing.assert_allclose(inverse.solve(rows), rows @ inv(matrix), atol=1e-9 * size)
    assert inverse.log_det == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-8)
    sums = [np.trace(inv(matrix), k) for k in range(len(column))]
    np.testing.assert_allclose(inverse.diagonal_sums(), sums, atol=1e-8 * size)
    moment = np.cov(rows.reshape(6, -1).T).reshape(matrix.shape)
    trace = inverse_trace(inv(matrix)[0], shifted_sums(moment))
    np.testing.assert_allclose(trace, np.sum(inv(matrix) * moment), rtol=1e-7)


@pytest.mark.parametrize("n_times", [1, 2, 6, 7])
def test_a_toeplitz_matrix_falls_apart_in_mirror_bases(n_times):
    matrix = toeplitz(0.8 ** np.arange(n_times))
    bases = mirror_bases(n_times)
    whole = np.hstack([basis.toarray() for basis in bases])
    np.testing.assert_allclose(whole.T @ whole, np.eye(n_times), atol=1e-15)
    np.testing.assert_allclose(bases[0].T @ matrix @ bases[1], 0, atol=1e-15)


@each
def test_levinson_predicts_best(kind):
    """The filter's errors are the conditional variances of each sample given those before."""
    column = SERIES[kind]
    predictor, errors = levinson(column)
    matrix = toeplitz(column)
    np.testing.assert_allclose(errors, np.diag(np.linalg.cholesky(matrix)) ** 2, rtol=1e-7)
    expected = np.zeros(len(column))
    expected[0] = errors[-1]
    np.testing.assert_allclose(matrix @ predictor, expected, atol=1e-9 * np.abs(predictor).max())


def test_what_is_not_positive_definite_is_refused():
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        levinson(np.array([1.0, 0.9, 0.0]))


def test_riccati_is_the_geometric_mean_and_a_minimum():
    rng = np.random.default_rng(0)
    a, c = (x @ x.T for x in rng.standard_normal((2, 6, 9)))
    s = solve_riccati(a, c)
    root = np.real(sqrtm(a))
    mean = inv(root) @ np.real(sqrtm(root @ c @ root)) @ inv(root)  # A^-1 # C
    np.testing.assert_allclose(s, mean, rtol=1e-8)

    def value(x):
        return np.trace(a @ x) + np.trace(inv(x) @ c)

    for _ in range(20):
        turn = np.eye(6) + 0.05 * rng.standard_normal((6, 6))
        assert value(s) < value(turn @ s @ turn.T)


def test_riccati_of_a_root_keeps_small_eigenvalues():
    """Where C itself has lost them: its least eigenvalue is 1e-24 of the largest."""
    rng = np.random.default_rng(0)
    a, g = rng.standard_normal((2, 6, 6))
    a = a @ a.T
    np.testing.assert_allclose(solve_riccati_of_root(a, g), solve_riccati(a, g @ g.T), rtol=1e-8)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    small = (rotation * [1, 1e-6, 1e-12]) @ rotation.T
    values = np.linalg.eigvalsh(solve_riccati_of_root(np.eye(3), small))
    np.testing.assert_allclose(values, [1e-12, 1e-6, 1], rtol=1e-3)


def test_root_of_a_second_moment_has_its_rank():
    rows = np.random.default_rng(0).standard_normal((3, 8))
    root = second_moment_root(rows.T @ rows)
    assert root.shape == (3, 8)
    np.testing.assert_allclose(root.T @ root, rows.T @ rows, atol=1e-12)
