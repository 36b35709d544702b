"""Toeplitz algebra against dense matrices."""

import numpy as np
import pytest
from scipy.linalg import inv, sqrtm, toeplitz

from mne_kronbayes.kernel.families import FLOOR
from mne_kronbayes.kernel.linalg import (
    Moment,
    ToeplitzInverse,
    levinson,
    mirror_bases,
    second_moment_root,
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
    np.testing.assert_allclose(
        inverse.scaled(3.0).solve(rows), inverse.solve(rows) / 3, atol=1e-9 * size
    )
    assert inverse.scaled(3.0).log_det == pytest.approx(
        np.linalg.slogdet(3 * matrix)[1], rel=1e-8, abs=1e-8
    )


@each
def test_traces_of_a_moment_are_the_dense_ones(kind):
    column = SERIES[kind]
    matrix = toeplitz(column)
    rows = np.random.default_rng(0).standard_normal((6, len(column)))
    predictor, errors = levinson(column)
    trace = Moment(rows).inverse_trace(predictor / errors[-1])
    np.testing.assert_allclose(trace, np.sum(inv(matrix) * (rows.T @ rows / 6)), rtol=1e-7)


@pytest.mark.parametrize("factor", [0.001, 0.5, 0.9, 0.99, 0.9999])
def test_few_samples_predict_an_autoregressive_series(factor):
    """Also above a white floor: the filter ends early, and nothing is lost."""
    column = factor ** np.arange(300.0)
    column[0] += FLOOR
    matrix, rows = toeplitz(column), np.random.default_rng(0).standard_normal((4, 300))
    predictor, errors = levinson(column)
    assert len(predictor) <= 16
    np.testing.assert_allclose(errors, np.diag(np.linalg.cholesky(matrix)) ** 2, rtol=1e-8)
    exact = np.linalg.solve(matrix, rows.T).T
    solved = ToeplitzInverse(column).solve(rows)
    np.testing.assert_allclose(solved, exact, atol=1e-10 * np.abs(exact).max())
    trace = Moment(rows).inverse_trace(predictor / errors[-1])
    np.testing.assert_allclose(trace, np.vdot(exact, rows) / 4, rtol=1e-8)


def test_a_filter_does_not_end_before_an_echo():
    """White noise and its echo 100 samples later: no short filter predicts the echo."""
    column = np.eye(1, 150)[0] + 0.5 * np.eye(1, 150, 100)[0]
    predictor, errors = levinson(column)
    assert len(predictor) > 100
    np.testing.assert_allclose(
        errors, np.diag(np.linalg.cholesky(toeplitz(column))) ** 2, rtol=1e-12
    )


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
    np.testing.assert_allclose(
        matrix[:, : len(predictor)] @ predictor, expected, atol=1e-9 * np.abs(predictor).max()
    )


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
