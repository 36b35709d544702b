"""Noise with a temporal covariance of its own, against dense Gaussians and the shared case."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag, inv, toeplitz
from scipy.signal import lfilter

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.own_time import NoiseTime, Separable
from mne_kronbayes.kernel.pruning import admit, eliminate
from mne_kronbayes.kernel.shared_time import Kronecker
from mne_kronbayes.kernel.state import State
from mne_kronbayes.kernel.temporal import TEMPORAL

M, N, K, T, G = 5, 4, 2, 6, 3  # sensors, locations, orientations, times, trials


def simulate(n_trials=4, n_sensors=16, n_locations=60, n_times=30, seed=0, noise=0.5):
    """Two autoregressive sources in white noise."""
    rng = np.random.default_rng(seed)
    gain = rng.standard_normal((n_sensors, n_locations))
    active = rng.choice(n_locations, 2, replace=False)
    sources = np.zeros((n_trials, n_locations, n_times))
    white = rng.standard_normal((n_trials, 2, n_times + 100))
    sources[:, active] = lfilter([1], [1, -0.95], white)[..., 100:]
    return (
        gain @ sources + noise * rng.standard_normal((n_trials, n_sensors, n_times)),
        gain,
        active,
    )


def spheres(n_locations, n_orient=1):
    """Roots of covariances that are alike in all orientations."""
    return np.tile(np.eye(n_orient), (n_locations, 1, 1))


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
            return Kronecker(state, data, occam), np.kron(source + noise, state.time.covariance)
        dense = np.kron(source, state.time.covariance) + np.kron(noise, noise_time)
        return Separable(state, data, NoiseTime(noise_time), occam), dense

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


def test_turned_sources_have_the_covariance_that_was_asked_for(state):
    """And faint orientations none."""
    root = np.random.default_rng(3).standard_normal((N, K, K))
    turned = state.turn(root)
    c = state.orient @ root
    asked = state.gamma[:, None, None] * c @ c.transpose(0, 2, 1)
    np.testing.assert_allclose(turned.prior, asked, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(turned.orient, axis=(1, 2)) ** 2, K)
    alone = state.gain @ inv(block_diag(*state.orient))
    field = alone @ block_diag(*asked) @ alone.T
    np.testing.assert_allclose(turned.source_covariance, field, rtol=1e-9)
    np.testing.assert_allclose(turned.prior_gain, alone @ block_diag(*asked), rtol=1e-9)
    flat = state.turn(root * np.r_[1.0, np.full(K - 1, 1e-5)])
    assert (np.linalg.matrix_rank(flat.orient) == 1).all()
    assert (flat.gain.reshape(M, N, K)[..., 1:] == 0).all()


def test_noise_of_the_same_temporal_covariance_is_the_shared_case(state, data):
    own = Separable(state, data, NoiseTime(state.time.covariance))
    shared = Kronecker(state, data)
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


# %% The whole loop


@pytest.mark.parametrize("noise_temporal", ["white", "lags", "matrix"])
@pytest.mark.parametrize("noise", sorted(NOISE))
@pytest.mark.parametrize("temporal", sorted(TEMPORAL))
def test_the_cost_never_rises(temporal, noise, noise_temporal):
    data, gain, _ = simulate(n_trials=2)
    lags = 0.3 ** np.arange(30)
    given = dict(white="white", lags=lags, matrix=toeplitz(lags))[noise_temporal]
    result = dugh(
        data, gain, temporal=temporal, noise=noise, noise_temporal=given, max_iter=40, tol=1e-12
    )
    steps = np.diff(result.cost)
    assert len(steps) >= 5
    assert steps.max() <= 1e-9 * np.abs(result.cost).max()
    assert steps[0] < 0
    assert np.isfinite(result.sources).all()


@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
@pytest.mark.parametrize("noise", sorted(NOISE))
def test_the_more_sources_pay_the_fewer_remain(noise, noise_temporal):
    """Where the gain errs, which looks like sources; and the cost never rises."""
    data, gain, _ = simulate(n_trials=2, n_locations=200)
    gain = gain + 0.2 * np.random.default_rng(3).standard_normal(gain.shape)
    counts = []
    for occam in (1.0, 2.0, 8.0):
        result = dugh(data, gain, noise=noise, noise_temporal=noise_temporal, occam=occam)
        assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
        counts.append(len(result.active))
    assert counts[0] >= counts[1] >= counts[2]
    assert counts[0] > counts[2]


def test_with_known_noise_occam_is_as_much_more_noise():
    """For white time courses occam log|Sigma| is the cost of the data for Sigma occam times."""
    data, gain, _ = simulate(n_trials=2)
    options = dict(temporal="identity", noise="fixed", tol=1e-9, max_iter=2000)
    paying = dugh(data, gain, occam=3, **options)
    noisy = dugh(data, gain, noise_basis=np.sqrt(3) * np.eye(len(gain)), **options)
    assert paying.converged
    assert noisy.converged
    assert set(paying.active) == set(noisy.active)
    np.testing.assert_allclose(3 * paying.source_variance, noisy.source_variance, rtol=1e-3)
    np.testing.assert_allclose(paying.sources, noisy.sources, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("occam", [1.0, 3.0])
def test_it_ends_in_a_minimum(occam):
    """Of the variance of each true source and of each sensor's noise alone."""
    data, gain, active = simulate(n_trials=8)
    options = dict(temporal="identity", occam=occam, tol=1e-9, max_iter=2000)
    found = dugh(data, gain, **options)
    rows = np.ascontiguousarray(data.transpose(1, 0, 2))
    state = State(
        gain[:, found.active], found.active, found.source_variance[found.active],
        spheres(len(found.active)),
        NOISE["diagonal"](np.diag(np.sqrt(found.noise_variance)), 1.0, 0.0, 1),
        TEMPORAL["identity"](30),
    )  # fmt: skip
    cost = Kronecker(state, rows, occam).cost
    assert cost == pytest.approx(found.cost[-1], rel=1e-9)
    for k, factor in itertools.product(active, (0.97, 1.03)):
        gamma = state.gamma * np.where(found.active == k, factor, 1)
        assert Kronecker(replace(state, gamma=gamma), rows, occam).cost > cost
    for k, factor in itertools.product(range(len(gain)), (0.97, 1.03)):
        variance = found.noise_variance * np.where(np.arange(len(gain)) == k, factor, 1)
        noise = NOISE["diagonal"](np.diag(np.sqrt(variance)), 1.0, 0.0, 1)
        assert Kronecker(replace(state, noise=noise), rows, occam).cost > cost


def test_white_noise_and_white_sources_are_the_shared_model():
    data, gain, _ = simulate()
    one = dugh(data, gain, temporal="identity", noise_temporal="white")
    other = dugh(data, gain, temporal="identity", noise_temporal="shared")
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-9)
    np.testing.assert_allclose(one.sources, other.sources, atol=1e-6 * np.abs(one.sources).max())


def test_smooth_sources_in_white_noise_are_better_estimated_by_the_true_model():
    gains = []
    for seed in range(5):
        data, gain, _ = simulate(seed=seed, noise=8.0, n_trials=8)
        clean, _, _ = simulate(seed=seed, noise=0.0, n_trials=8)
        errors = []
        for noise_temporal in ("white", "shared"):
            found = dugh(data, gain, noise_temporal=noise_temporal).sources
            errors.append(np.sum((gain @ found - clean) ** 2) / np.sum(clean**2))
        gains.append(errors[1] / errors[0])
    assert np.median(gains) > 1.2


@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
def test_intervals_hold_the_truth_as_often_as_they_say(noise_temporal):
    """Of data that the model made, with sources that are all active."""
    rng = np.random.default_rng(0)
    gain = rng.standard_normal((20, 5))

    def courses(n_rows):
        white = rng.standard_normal((20, n_rows, 130))
        return lfilter([1], [1, -0.8], white)[..., 100:] * 0.6

    truth = courses(5)
    noise = courses(20) if noise_temporal == "shared" else rng.standard_normal((20, 20, 30))
    result = dugh(gain @ truth + 2 * noise, gain, noise_temporal=noise_temporal)
    std = np.sqrt(np.einsum("noot->nt", result.posterior.covariances()))
    distance = np.abs(truth - result.sources) / std
    for level, width in [(0.5, 0.6745), (0.8, 1.2816), (0.95, 1.96)]:
        assert np.mean(distance <= width) == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pink", '"shared", "white" or a covariance'),
        (np.ones(7), r"shape \(7, 7\), but the data have 30"),
        (np.ones(30), "not positive definite"),
    ],
)
def test_mistakes_are_named(given, message):
    data, gain, _ = simulate()
    with pytest.raises(ValueError, match=message):
        dugh(data, gain, noise_temporal=given)
    with pytest.raises(ValueError, match=r"occam must be at least 1, got 0\.5"):
        dugh(data, gain, occam=0.5)


# %% Elimination


def spread(n_locations=40, seed=0):
    """A likelihood at which many sources share what two of them do."""
    data, gain, active = simulate(n_locations=n_locations, seed=seed)
    rows = np.ascontiguousarray(data.transpose(1, 0, 2))
    noise = NOISE["fixed"](0.5 * np.eye(16), 1.0, 0.0, 1)
    time = TEMPORAL["identity"](30)
    gamma, orient = np.full(n_locations, 2.0), spheres(n_locations)
    state = State(gain, np.arange(n_locations), gamma, orient, noise, time)
    return Kronecker(state, rows), lambda s: Kronecker(s, rows), active


def test_elimination_leaves_the_true_sources_and_lowers_the_cost():
    likelihood, evaluate, active = spread()
    price = 20.0
    fewer = eliminate(likelihood, price, evaluate)
    n_off = len(likelihood.state.active) - len(fewer.state.active)
    assert n_off > 20
    assert fewer.cost - likelihood.cost <= price * n_off
    assert set(active) <= set(fewer.state.active)
    assert fewer.shift_costs(fewer.state.gain, -fewer.state.gamma).min() >= price
    assert eliminate(fewer, price, evaluate) is fewer


def test_twins_do_not_go_together():
    """Two sources with the same field: one is enough, none is too few."""
    likelihood, evaluate, active = spread()
    state = likelihood.state
    gain = np.c_[state.gain, state.gain[:, active]]
    twins = State(gain, np.arange(42), np.full(42, 10.0), spheres(42), state.noise, state.time)
    fewer = eliminate(evaluate(twins), 20.0, evaluate)
    for k, twin in zip(active, (40, 41), strict=True):
        assert len({k, twin} & set(fewer.state.active)) == 1


def test_one_source_stays_whatever_the_price():
    likelihood, evaluate, _ = spread()
    assert len(eliminate(likelihood, 1e9, evaluate).state.active) == 1


@pytest.mark.parametrize("n_orient", [1, 3])
def test_a_source_that_is_missed_is_admitted_and_no_other(n_orient):
    """With three orientations, of which all but one are faint, as with a loose constraint."""
    data, gain, active = simulate()
    gain = np.stack([gain] + [0.1 * np.roll(gain, k, axis=1) for k in range(1, n_orient)], axis=2)
    gain = gain.reshape(len(gain), -1)
    rows = np.ascontiguousarray(data.transpose(1, 0, 2))

    def evaluate(state):
        return Kronecker(state, rows)

    noise = NOISE["fixed"](0.5 * np.eye(16), 1.0, 0.0, 1)
    gamma, orient = np.full(60, 2.0), spheres(60, n_orient)
    everything = State(gain, np.arange(60), gamma, orient, noise, TEMPORAL["identity"](30))
    likelihood = evaluate(everything.keep(np.arange(60) == active[0]))
    more = admit(likelihood, gain, 20.0, evaluate)
    assert active[1] in more.state.active
    assert more.cost < likelihood.cost - 20.0 * (len(more.state.active) - 1)
    assert admit(likelihood, gain, 1e9, evaluate) is likelihood
    both = evaluate(everything.keep(np.isin(np.arange(60), active)))
    assert admit(both, gain, 20.0, evaluate) is both


@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
@pytest.mark.parametrize("temporal", sorted(TEMPORAL))
def test_selection_leaves_few_sources_and_the_cost_never_rises(temporal, noise_temporal):
    data, gain, active = simulate(n_locations=200, n_trials=10)
    options = dict(temporal=temporal, noise_temporal=noise_temporal, tol=1e-4)
    everything = dugh(data, gain, **options)
    result = dugh(data, gain, select=True, **options)
    assert result.converged
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    assert set(active) <= set(result.active)
    assert len(result.active) <= min(4, len(everything.active))
    if noise_temporal == "shared":  # in noise known to be white, none may be left to select
        assert len(everything.active) > 4
    assert result.cost[-1] < everything.cost[-1]
    strength = np.linalg.norm(result.sources, axis=(0, 2))
    assert set(np.argsort(strength)[-2:]) == set(active)
