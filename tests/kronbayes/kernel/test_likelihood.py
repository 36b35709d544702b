"""Both likelihoods against one large dense Gaussian."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag, inv, toeplitz
from scipy.signal import lfilter

from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.own_time import NoiseTime, OwnTime
from mne_kronbayes.kernel.shared_time import SharedTime
from mne_kronbayes.kernel.state import State
from mne_kronbayes.kernel.temporal import TEMPORAL

M, N, K, T, G = 5, 4, 2, 6, 3  # sensors, locations, components, times, trials


@pytest.fixture(params=["full", "toeplitz"])
def state(request):
    """A state with nothing special about it."""
    rng = np.random.default_rng(0)
    noise = NOISE["diagonal"](np.eye(M), 1.0, 0.0, G * T)
    noise = noise.step(rng.standard_normal((M, M)), rng.standard_normal((M, M)), 0.5)
    time = TEMPORAL[request.param](T)
    rows = lfilter([1], [1, -0.9], rng.standard_normal((50, T)))
    time = time.update(rows, time.solve(rows))
    orient = rng.standard_normal((N, K, K))
    orient *= np.sqrt(K) / np.linalg.norm(orient, axis=(1, 2), keepdims=True)
    gain, gamma = rng.standard_normal((M, N * K)), rng.uniform(0.5, 2, N)
    return State(gain, np.arange(N), gamma, orient, noise, time)


@pytest.fixture
def data():
    return np.random.default_rng(1).standard_normal((M, G, T))


@pytest.fixture(params=itertools.product(["shared", "own"], [1.0, 2.5]))
def make(request, data):
    """The likelihood at a state, and the same covariance as a dense matrix."""
    noise_time = toeplitz(0.5 ** np.arange(T))
    kind, occam = request.param

    def make(state):
        source, noise = state.source_covariance, state.noise.covariance
        if kind == "shared":
            return SharedTime(state, data, occam), np.kron(source + noise, state.time.covariance)
        dense = np.kron(source, state.time.covariance) + np.kron(noise, noise_time)
        return OwnTime(state, data, NoiseTime(noise_time), occam), dense

    make.noise_time = noise_time if kind == "own" else None
    make.occam = occam
    return make


def dense_cost(covariance, data):
    y = data.transpose(1, 0, 2).reshape(G, -1)
    return np.linalg.slogdet(covariance)[1] + np.einsum("gi,ij,gj->", y, inv(covariance), y) / G


def test_cost_and_likelihood_are_those_of_a_dense_gaussian(make, state, data):
    likelihood, dense = make(state)
    noise_time = state.time.covariance if make.noise_time is None else make.noise_time
    silent = np.kron(state.noise.covariance, noise_time)
    more = np.linalg.slogdet(dense)[1] - np.linalg.slogdet(silent)[1]
    cost = dense_cost(dense, data) + (make.occam - 1) * more
    assert likelihood.cost == pytest.approx(cost, rel=1e-10)
    expected = -G / 2 * (dense_cost(dense, data) + M * T * np.log(2 * np.pi))
    assert likelihood.log_likelihood == pytest.approx(expected, rel=1e-10)


def test_slopes_are_the_derivatives_of_the_cost(make, state, data):
    """Along a column the log-determinant rises, and the quadratic term falls, by its slope.

    The log-determinant of the noise that is taken off again counts as quadratic.
    """
    likelihood, dense = make(state)
    noise_time = state.time.covariance if make.noise_time is None else make.noise_time
    times = state.time.covariance, noise_time
    y = data.transpose(1, 0, 2).reshape(G, -1)
    solved = y @ inv(dense)
    column = np.random.default_rng(2).standard_normal(M)
    alone = (make.occam - 1) * column @ inv(state.noise.covariance) @ column
    for (log_rows, fit_rows), time, more in zip(likelihood.slopes, times, (0, alone), strict=True):
        part = np.kron(np.outer(column, column), time)
        log_slope = np.trace(inv(dense) @ part) / T
        fit_slope = np.sum((solved @ part) * solved) / (G * T)
        assert np.sum((log_rows @ column) ** 2) == pytest.approx(make.occam * log_slope, rel=1e-8)
        assert np.sum((fit_rows @ column) ** 2) == pytest.approx(fit_slope + more, rel=1e-8)


def test_shift_costs_are_what_shifts_cost(make, state):
    """Of one variance: of a source switched off, and of one that grows."""
    likelihood, _ = make(state)
    for k, cost in enumerate(likelihood.shift_costs(state.gain, -state.gamma)):
        without, _ = make(state.keep(np.arange(N) != k))
        assert without.cost - likelihood.cost == pytest.approx(cost, rel=1e-7)
    for k, cost in enumerate(likelihood.shift_costs(state.gain, np.full(N, 0.7))):
        more, _ = make(replace(state, gamma=state.gamma + 0.7 * (np.arange(N) == k)))
        assert more.cost - likelihood.cost == pytest.approx(cost, rel=1e-7)


def test_posterior_is_that_of_a_dense_gaussian(make, state, data):
    likelihood, dense = make(state)
    posterior = likelihood.posterior(None)
    root = block_diag(*np.sqrt(state.gamma)[:, None, None] * state.orient)
    alone = block_diag(*state.orient)
    prior = np.kron(root @ root.T, state.time.covariance)
    cross = prior @ np.kron(state.gain @ inv(alone), np.eye(T)).T
    trial = data[:, 1]
    mean = (cross @ inv(dense) @ trial.ravel()).reshape(N * K, T)
    np.testing.assert_allclose(posterior.mean(trial), mean, atol=1e-10)
    covariance = (prior - cross @ inv(dense) @ cross.T).reshape(N, K, T, N, K, T)
    blocks = np.einsum("notnpt->nopt", covariance)
    np.testing.assert_allclose(posterior.covariances(), blocks, atol=1e-10)


def test_a_location_gets_the_covariance_asked_for(state):
    """And a faint orientation is switched off."""
    root = np.random.default_rng(3).standard_normal((N, K, K))
    moved = state.transform_orient(root)
    c = state.orient @ root
    asked = state.gamma[:, None, None] * c @ c.transpose(0, 2, 1)
    np.testing.assert_allclose(moved.prior, asked, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(moved.orient, axis=(1, 2)) ** 2, K)
    alone = state.gain @ inv(block_diag(*state.orient))
    field = alone @ block_diag(*asked) @ alone.T
    np.testing.assert_allclose(moved.source_covariance, field, rtol=1e-9)
    np.testing.assert_allclose(moved.prior_gain, alone @ block_diag(*asked), rtol=1e-9)
    flat = state.transform_orient(root * np.r_[1.0, np.full(K - 1, 1e-5)])
    assert (np.linalg.matrix_rank(flat.orient) == 1).all()
    assert (flat.gain.reshape(M, N, K)[..., 1:] == 0).all()


def test_noise_of_the_same_temporal_covariance_is_the_shared_case(state, data):
    own = OwnTime(state, data, NoiseTime(state.time.covariance))
    shared = SharedTime(state, data)
    assert own.cost == pytest.approx(shared.cost, rel=1e-10)
    np.testing.assert_allclose(
        own.posterior(None).mean(data[:, 0]), shared.posterior(None).mean(data[:, 0]), atol=1e-9
    )
    shift = 0.7 * state.gamma
    np.testing.assert_allclose(
        own.shift_costs(state.gain, shift), shared.shift_costs(state.gain, shift), rtol=1e-7
    )


def test_a_step_in_time_lowers_the_cost(make, state):
    """Also when the factor that keeps the trace of B moves into the sources."""
    likelihood, _ = make(state)
    moved = likelihood.update_time()
    again, _ = make(moved.state)
    assert again.cost < likelihood.cost
    assert np.trace(moved.state.time.covariance) == pytest.approx(T)
