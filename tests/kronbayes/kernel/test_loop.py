"""The loop on arrays: certificate, dense restatement, invariances, limiting cases."""

import sys

import numpy as np
import pytest
from scipy.linalg import inv, solve_toeplitz, sqrtm, toeplitz
from scipy.signal import butter, lfilter, sosfiltfilt

from mne_kronbayes.kernel import temporal as temporal_module
from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import FLOOR, TEMPORAL

module = sys.modules["mne_kronbayes.kernel.loop"]


def simulate(n_trials=3, n_sensors=12, n_locations=30, n_times=20, n_orient=1, ar=0.9, seed=0):
    """Two active sources in noise, both autoregressive in time."""
    rng = np.random.default_rng(seed)
    gain = rng.standard_normal((n_sensors, n_locations * n_orient))
    active = rng.choice(n_locations, 2, replace=False)
    sources = np.zeros((n_trials, n_locations, n_orient, n_times))
    shape = (n_trials, 2, n_orient, n_times + 100)
    sources[:, active] = lfilter([1], [1, -ar], rng.standard_normal(shape))[..., 100:]
    sources = sources.reshape(n_trials, -1, n_times)
    noise = lfilter([1], [1, -ar], rng.standard_normal((n_trials, n_sensors, n_times + 100)))
    return gain @ sources + 0.3 * noise[..., 100:], gain, active


def band_limited(seed=0):
    """A recording low-passed far below half its sampling rate, as averaged EEG is."""
    data, gain, active = simulate(n_trials=1, n_sensors=40, n_times=60, ar=0.0, seed=seed)
    return sosfiltfilt(butter(8, 0.1, output="sos"), data), gain, active


both = pytest.mark.parametrize("noise", sorted(NOISE))
each = pytest.mark.parametrize("temporal", sorted(TEMPORAL))


@both
@each
@pytest.mark.parametrize("case", ["trials", "oriented", "band-limited", "few samples"])
def test_the_cost_never_rises(temporal, noise, case):
    data, gain, _ = {
        "trials": lambda: simulate(),
        "oriented": lambda: simulate(n_orient=3, n_trials=1),
        "band-limited": band_limited,
        "few samples": lambda: simulate(n_trials=1, n_times=3),
    }[case]()
    result = dugh(
        data, gain, 3 if case == "oriented" else 1, temporal=temporal, noise=noise, max_iter=60,
        tol=1e-12,
    )  # fmt: skip
    steps = np.diff(result.cost)
    assert len(steps) >= 5
    assert steps.max() <= 1e-9 * np.abs(result.cost).max()
    assert steps[0] < 0
    for learned in (result.sources, result.source_variance, result.temporal_covariance):
        assert np.isfinite(learned).all()


def alone(monkeypatch):
    """Majorization-minimization alone: no longer steps, and no source is switched off or on."""
    monkeypatch.setattr(module, "_STRIDE", 0.5)
    monkeypatch.setattr(module, "_WARM_UP", 1000)
    monkeypatch.setattr(module, "admit", lambda likelihood, *_: likelihood)


def dense_sweeps(data, gain, n_orient, temporal, noise, basis, n_sweeps):
    """Majorization-minimization with every covariance a kron product, as the paper states it."""
    n_trials, n_sensors, n_times = data.shape
    share = 0.5 * np.mean(data**2) * n_sensors
    n_locations = gain.shape[1] // n_orient
    gamma = np.full(n_locations, share / np.sum(gain**2))
    lam = np.ones(basis.shape[1]) if noise == "fixed" else share / np.sum(basis**2)
    lam = lam * np.ones(basis.shape[1])
    given, dense_noise = basis @ basis.T, (basis * lam) @ basis.T
    blocks = [gain[:, n_orient * k : n_orient * (k + 1)] for k in range(n_locations)]
    sensors = [b @ b.T for b in blocks], [np.outer(p, p) for p in basis.T]
    y = data.reshape(n_trials, -1)
    cov = np.eye(n_times)
    size = temporal_module.next_fast_len(2 * n_times - 1, real=True)
    waves = np.exp(2j * np.pi * np.outer(np.arange(n_times), np.arange(size)) / size)
    waves /= np.sqrt(size)
    p = np.ones(size) / (1 + FLOOR)
    s = np.eye(n_times) / (1 + FLOOR)
    costs = []

    def moments(sigma, cov, spatial, in_time):
        """Slope of log-determinant and of the quadratic term along spatial x in_time."""
        inverse = inv(np.kron(sigma, cov))
        part = np.kron(spatial, in_time)
        solved = y @ inverse
        return np.trace(inverse @ part), np.sum((solved @ part) * solved) / n_trials

    for sweep in range(n_sweeps + 1):
        sigma = sum(g * a for g, a in zip(gamma, sensors[0], strict=True))
        if noise != "full":
            dense_noise = (basis * lam) @ basis.T
        sigma = sigma + dense_noise
        whole = np.kron(sigma, cov)
        fit = np.einsum("gi,ij,gj->", y, inv(whole), y) / n_trials
        costs.append(np.linalg.slogdet(whole)[1] + fit)
        if noise == "full":  # baseline, whose scale is learned
            level = n_sensors / np.trace(inv(dense_noise) @ given)
            fit = level * np.trace(inv(dense_noise) @ given) - n_sensors * np.log(level)
            weight = 4 * (1 + n_sensors / (n_trials * n_times))
            costs[-1] += weight * n_times * (np.linalg.slogdet(dense_noise)[1] + fit)
        if sweep == n_sweeps:
            break
        if temporal == "toeplitz":
            white = np.eye(n_times) * FLOOR / size
            parts = [np.real(np.outer(q, q.conj())) + white for q in waves.T]
            slopes = np.array([moments(sigma, cov, sigma, a) for a in parts])
            p = p * np.sqrt(slopes[:, 1] / slopes[:, 0])
            cov = np.real(waves * p @ waves.conj().T) + FLOOR * p.mean() * np.eye(n_times)
        elif temporal == "full":
            inverse = inv(cov)
            second = sum(d.T @ inv(sigma) @ d for d in data) / (n_sensors * n_trials)
            a, c = inverse, inverse @ second @ inverse
            a, c = (x + FLOOR / n_times * np.trace(x) * np.eye(n_times) for x in (a, c))
            root = np.real(sqrtm(a))
            s = inv(root) @ np.real(sqrtm(root @ s @ c @ s @ root)) @ inv(root)
            cov = s + FLOOR / n_times * np.trace(s) * np.eye(n_times)
        slopes = [np.array([moments(sigma, cov, a, cov) for a in part]) for part in sensors]
        gamma = gamma * np.sqrt(slopes[0][:, 1] / slopes[0][:, 0])
        if noise == "diagonal":
            lam = lam * np.sqrt(slopes[1][:, 1] / slopes[1][:, 0])
        if noise == "full":
            inverse = inv(sigma)
            second = sum(d @ inv(cov) @ d.T for d in data) / (n_times * n_trials)
            a = inverse + weight * inv(dense_noise)
            c = dense_noise @ inverse @ second @ inverse @ dense_noise + weight * level * given
            root = np.real(sqrtm(a))
            dense_noise = inv(root) @ np.real(sqrtm(root @ c @ root)) @ inv(root)
        if noise == "scalar":
            lam = lam * np.sqrt(slopes[1][:, 1].sum() / slopes[1][:, 0].sum())
        if noise != "fixed":
            scale = np.trace(cov) / n_times
            cov, p, s, gamma, lam = cov / scale, p / scale, s / scale, scale * gamma, scale * lam
            dense_noise = scale * dense_noise
    prior = np.kron(np.diag(np.repeat(gamma, n_orient)), cov)
    mean = prior @ np.kron(gain, np.eye(n_times)).T @ inv(np.kron(sigma, cov))
    sources = (y @ mean.T).reshape(n_trials, -1, n_times)
    if noise == "full":
        lam = np.diag(dense_noise)
    return gamma, lam, cov, np.array(costs), sources


@both
@pytest.mark.parametrize("temporal", ["identity", "full", "toeplitz"])  # others: test_temporal.py
@pytest.mark.parametrize("n_orient", [1, 3])
def test_factored_updates_equal_dense_kron_products(temporal, noise, n_orient, monkeypatch):
    data, gain, _ = simulate(
        n_trials=6, n_sensors=4, n_locations=5, n_times=6, n_orient=n_orient, seed=1
    )
    basis = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 4)))[0].T
    alone(monkeypatch)
    result = dugh(
        data,
        gain,
        n_orient,
        temporal=temporal,
        noise=noise,
        noise_basis=basis,
        max_iter=4,
        tol=1e-15,
    )
    gamma, lam, cov, costs, sources = dense_sweeps(
        data, gain, n_orient, temporal, noise, basis, n_sweeps=4
    )
    np.testing.assert_allclose(result.cost, costs, rtol=1e-8)
    np.testing.assert_allclose(result.source_variance, gamma, rtol=1e-8)
    np.testing.assert_allclose(result.noise_variance, lam, rtol=1e-8)
    np.testing.assert_allclose(result.temporal_covariance, cov, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(result.sources, sources, rtol=1e-8, atol=1e-10)


def test_white_time_and_fixed_noise_are_sparse_bayesian_learning(monkeypatch):
    data, gain, active = simulate(ar=0.0)
    alone(monkeypatch)
    result = dugh(data, gain, temporal="identity", noise="fixed", max_iter=15, tol=1e-15)
    gamma = np.full(gain.shape[1], 0.5 * np.mean(data**2) * len(gain) / np.sum(gain**2))
    samples = np.concatenate(list(data), axis=1)
    for _ in range(15):  # Wipf & Nagarajan (2009), convexity bound
        precision = inv(gain @ np.diag(gamma) @ gain.T + np.eye(len(gain)))
        mean = np.diag(gamma) @ gain.T @ precision @ samples
        sensitivity = np.einsum("mn,mk,kn->n", gain, precision, gain)
        gamma = np.sqrt(np.mean(mean**2, axis=1) / sensitivity)
    np.testing.assert_allclose(result.source_variance, gamma, rtol=1e-6)
    assert set(np.argsort(-gamma)[:2]) == set(active)


def test_no_source_that_is_off_would_save_its_price():
    """By brute force over all locations and many variances: the certificate at the end."""
    data, gain, active = simulate(ar=0.0, n_locations=80)
    result = dugh(data, gain, temporal="identity", noise="fixed")
    samples = np.concatenate(list(data), axis=1)
    n_trials, _, n_times = data.shape

    def cost(gamma):
        sigma = gain * gamma @ gain.T + np.eye(len(gain))
        fit = np.sum(samples * inv(sigma).dot(samples))
        return n_times * np.linalg.slogdet(sigma)[1] + fit / n_trials

    gamma = result.source_variance
    assert cost(gamma) == pytest.approx(result.cost[-1], rel=1e-9)
    price = (2 * np.log(80) + np.log(n_trials * n_times)) / n_trials
    assert set(active) <= set(result.active)
    assert len(result.active) < 20
    for location in np.flatnonzero(gamma == 0):
        unit = np.arange(80) == location
        costs = [cost(gamma + variance * unit) for variance in np.geomspace(1e-4, 10, 30)]
        assert min(costs) >= result.cost[-1] - price


def test_of_many_locations_few_are_looked_at_twice(monkeypatch):
    """In single precision at first, without a rise of the cost, to as low an end."""
    data, gain, active = simulate(n_locations=5000, ar=0.0)
    options = dict(temporal="identity", noise="fixed", noise_basis=0.3 * np.eye(12))
    assert len(dugh(data, gain, **options, max_iter=1, tol=1e-12).active) == 240
    result = dugh(data, gain, **options)
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    monkeypatch.setattr(module, "_PER_SENSOR", 5000)
    monkeypatch.setattr("mne_kronbayes.kernel.state._WIDE", 5000)
    patient = dugh(data, gain, **options)
    assert result.cost[-1] == pytest.approx(patient.cost[-1], abs=0.01 * data[0].size)
    strong = np.argsort(-result.source_variance)[:2]
    assert set(strong) == set(np.argsort(-patient.source_variance)[:2]) == set(active)


def test_a_weak_source_returns_that_was_hidden_by_many_strong_ones():
    rng = np.random.default_rng(0)
    gain = rng.standard_normal((12, 400))
    gain[:, 1:] = gain[:, [1]] + 0.01 * rng.standard_normal((12, 399))
    sources = rng.standard_normal((2, 30)) * [[1], [100]]
    data = (gain[:, :2] @ sources + 0.1 * rng.standard_normal((12, 30)))[None]
    options = dict(temporal="identity", noise="fixed", noise_basis=0.1 * np.eye(12))
    assert 0 not in dugh(data, gain, **options, max_iter=1).active
    assert 0 in dugh(data, gain, **options).active


@pytest.mark.parametrize("n_orient", [1, 3])
def test_switching_off_takes_few_sweeps_and_hardly_costs(n_orient, monkeypatch):
    data, gain, active = simulate(n_sensors=30, n_locations=300, n_orient=n_orient, ar=0.0)
    options = dict(temporal="identity", noise="fixed", noise_basis=0.3 * np.eye(30))
    fast = dugh(data, gain, n_orient, **options)
    alone(monkeypatch)
    slow = dugh(data, gain, n_orient, **options, max_iter=2000, tol=1e-6)
    assert set(active) <= set(fast.active)
    assert len(fast.active) < 60
    assert len(slow.active) == 300
    assert len(fast.cost) < len(slow.cost) / 3
    assert fast.cost[-1] == pytest.approx(slow.cost[-1], abs=0.02 * data[0].size)


@each
@pytest.mark.parametrize("noise", ["scalar", "diagonal", "full"])
def test_estimate_scales_with_the_data(temporal, noise):
    data, gain, _ = simulate()
    one = dugh(data, gain, temporal=temporal, noise=noise)
    many = dugh(1e3 * data, gain, temporal=temporal, noise=noise)
    np.testing.assert_allclose(many.sources, 1e3 * one.sources, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(many.source_variance, 1e6 * one.source_variance, rtol=1e-6)
    np.testing.assert_allclose(many.temporal_covariance, one.temporal_covariance, rtol=1e-6)


@each
def test_fixed_noise_scales_with_data_and_noise(temporal):
    data, gain, _ = simulate()
    basis = np.eye(len(gain))
    one = dugh(data, gain, temporal=temporal, noise="fixed", noise_basis=basis)
    many = dugh(10 * data, gain, temporal=temporal, noise="fixed", noise_basis=10 * basis)
    np.testing.assert_allclose(many.sources, 10 * one.sources, rtol=1e-6, atol=1e-9)


@each
def test_order_and_rotation_of_sensors_do_not_matter(temporal):
    data, gain, _ = simulate()
    rng = np.random.default_rng(3)
    one = dugh(data, gain, temporal=temporal)
    order = rng.permutation(len(gain))
    permuted = dugh(data[:, order], gain[order], temporal=temporal)
    np.testing.assert_allclose(permuted.sources, one.sources, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(permuted.noise_variance, one.noise_variance[order], rtol=1e-5)
    rotation = np.linalg.qr(rng.standard_normal((len(gain),) * 2))[0]
    rotated = dugh(rotation @ data, rotation @ gain, temporal=temporal, noise_basis=rotation)
    np.testing.assert_allclose(rotated.sources, one.sources, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("learn_orient", [False, True])
def test_rotating_the_axes_of_a_location_rotates_its_vectors(learn_orient):
    data, gain, _ = simulate(n_orient=3)
    rotation = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))[0]
    turned = (gain.reshape(len(gain), -1, 3) @ rotation).reshape(gain.shape)
    one, other = (dugh(data, g, 3, learn_orient=learn_orient) for g in (gain, turned))
    vectors = other.sources.reshape(len(data), -1, 3, data.shape[2])
    back = np.einsum("ij,gnjt->gnit", rotation, vectors).reshape(one.sources.shape)
    np.testing.assert_allclose(back, one.sources, rtol=1e-5, atol=1e-8)


@each
@both
def test_active_sources_are_found(temporal, noise):
    data, gain, active = simulate(n_trials=10, n_sensors=30, n_locations=200, n_times=30)
    scale = np.std(0.3 * lfilter([1], [1, -0.9], np.random.default_rng(0).standard_normal(100000)))
    result = dugh(data / scale, gain, temporal=temporal, noise=noise)
    assert set(np.argsort(-result.source_variance)[:2]) == set(active)


@pytest.mark.parametrize("temporal", ["full", "toeplitz"])
def test_temporal_covariance_is_recovered(temporal):
    data, gain, _ = simulate(n_trials=60, n_sensors=30, n_locations=60, n_times=25, ar=0.8)
    learned = dugh(data, gain, temporal=temporal, max_iter=500).temporal_covariance
    truth = toeplitz(0.8 ** np.arange(25))
    assert np.corrcoef(learned.ravel(), truth.ravel())[0, 1] > 0.99
    if temporal == "toeplitz":
        np.testing.assert_allclose(learned, toeplitz(learned[0]), atol=1e-12)
        assert solve_toeplitz(learned[0], np.ones(25)).min() > -10  # positive definite


def test_full_covariance_uses_no_more_components_than_the_data_can_teach():
    data, gain, active = simulate(n_trials=1, n_sensors=40, n_locations=200, n_times=100)
    result = dugh(data, gain, temporal="full")
    assert np.linalg.matrix_rank(result.temporal_covariance, tol=1e-9) == 40 // 4
    assert result.sources.shape == (1, 200, 100)
    assert set(np.argsort(-result.source_variance)[:2]) == set(active)


def test_noise_level_is_learned_where_sources_cannot_explain_it():
    rng = np.random.default_rng(5)
    gain = rng.standard_normal((40, 5))
    levels = np.repeat([0.5, 2.0], 20)
    data = gain @ rng.standard_normal((20, 5, 50)) + levels[:, None] * rng.standard_normal(
        (20, 40, 50)
    )
    result = dugh(data, gain, temporal="identity")
    np.testing.assert_allclose(np.sqrt(result.noise_variance), levels, rtol=0.15)
    scalar = dugh(data, gain, temporal="identity", noise="scalar").noise_variance
    np.testing.assert_allclose(scalar, scalar[0])
    assert levels[0] ** 2 < scalar[0] < levels[-1] ** 2


def test_a_family_and_a_noise_model_of_ones_own():
    data, gain, _ = simulate()
    named = dugh(data, gain, temporal="toeplitz", noise="scalar")
    given = dugh(data, gain, temporal=TEMPORAL["toeplitz"], noise=NOISE["scalar"])
    np.testing.assert_array_equal(named.sources, given.sources)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temporal": "ar"}, "temporal must be one of"), ({"noise": "ar"}, "noise must be one of")],
)
def test_unknown_names_list_the_known(options, message):
    data, gain, _ = simulate()
    with pytest.raises(ValueError, match=message):
        dugh(data, gain, **options)


def test_zero_data_are_refused():
    _, gain, _ = simulate()
    with pytest.raises(ValueError, match="zero throughout"):
        dugh(np.zeros((1, len(gain), 5)), gain)


def test_progress_is_reported_and_the_limit_kept():
    data, gain, _ = simulate()
    seen = []
    result = dugh(
        data, gain, max_iter=4, tol=1e-15, on_sweep=lambda k, cost: seen.append((k, cost))
    )
    assert not result.converged
    assert [k for k, _ in seen] == list(range(5))
    np.testing.assert_array_equal([cost for _, cost in seen], result.cost)
