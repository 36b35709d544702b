"""Learning on arrays: minima, invariances, limiting cases, what is found."""

import numpy as np
import pytest
from scipy.linalg import inv, toeplitz

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import TEMPORAL

both = pytest.mark.parametrize("noise", sorted(NOISE))
each = pytest.mark.parametrize("temporal", sorted(TEMPORAL))


def test_no_source_that_is_off_would_save_its_price(simulate):
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


def test_of_many_locations_few_are_looked_at_twice(monkeypatch, simulate):
    """In single precision at first, without a rise of the cost, to as low an end."""
    data, gain, active = simulate(n_locations=5000, ar=0.0)
    options = dict(temporal="identity", noise="fixed", noise_basis=0.3 * np.eye(12))
    assert len(dugh(data, gain, **options, max_iter=1, tol=1e-12).active) == 240
    result = dugh(data, gain, **options)
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    monkeypatch.setattr("mne_kronbayes.kernel.sweep._PER_SENSOR", 5000)
    monkeypatch.setattr("mne_kronbayes.kernel.slopes._WIDE", 5000)
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
def test_switching_off_takes_few_sweeps_and_hardly_costs(n_orient, simulate, take_safe_steps):
    data, gain, active = simulate(n_sensors=30, n_locations=300, n_orient=n_orient, ar=0.0)
    options = dict(temporal="identity", noise="fixed", noise_basis=0.3 * np.eye(30))
    fast = dugh(data, gain, n_orient, **options)
    take_safe_steps()
    slow = dugh(data, gain, n_orient, **options, max_iter=2000, tol=1e-6)
    assert set(active) <= set(fast.active)
    assert len(fast.active) < 60
    assert len(slow.active) == 300
    assert len(fast.cost) < len(slow.cost) / 3
    assert fast.cost[-1] == pytest.approx(slow.cost[-1], abs=0.02 * data[0].size)


@pytest.mark.parametrize(
    ("temporal", "noise"),
    [
        ("ar1", "scalar"),
        ("full", "diagonal"),
        ("identity", "full"),
        ("squared-exponential", "diagonal"),
        ("toeplitz", "full"),
    ],
)
def test_estimate_scales_with_the_data(temporal, noise, simulate):
    data, gain, _ = simulate()
    options = dict(temporal=temporal, noise=noise)
    one, many = dugh(data, gain, **options), dugh(1e3 * data, gain, **options)
    np.testing.assert_allclose(many.mean(1e3 * data), 1e3 * one.mean(data), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(many.source_variance, 1e6 * one.source_variance, rtol=1e-6)
    np.testing.assert_allclose(many.temporal_covariance, one.temporal_covariance, rtol=1e-6)


@each
def test_fixed_noise_scales_with_data_and_noise(temporal, simulate):
    data, gain, _ = simulate()
    basis = np.eye(len(gain))
    options = dict(temporal=temporal, noise="fixed")
    one = dugh(data, gain, noise_basis=basis, **options)
    many = dugh(10 * data, gain, noise_basis=10 * basis, **options)
    np.testing.assert_allclose(many.mean(10 * data), 10 * one.mean(data), rtol=1e-6, atol=1e-9)


@each
def test_order_and_rotation_of_sensors_do_not_matter(temporal, simulate):
    data, gain, _ = simulate()
    rng = np.random.default_rng(3)
    options = dict(temporal=temporal)
    one = dugh(data, gain, **options)
    order = rng.permutation(len(gain))
    permuted = dugh(data[:, order], gain[order], **options)
    np.testing.assert_allclose(permuted.mean(data[:, order]), one.mean(data), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(permuted.noise_variance, one.noise_variance[order], rtol=1e-5)
    rotation = np.linalg.qr(rng.standard_normal((len(gain),) * 2))[0]
    rotated = dugh(rotation @ data, rotation @ gain, noise_basis=rotation, **options)
    np.testing.assert_allclose(rotated.mean(rotation @ data), one.mean(data), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("learn_orient", [False, True])
def test_rotating_the_axes_of_a_location_rotates_its_vectors(learn_orient, simulate):
    data, gain, _ = simulate(n_orient=3)
    rotation = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))[0]
    turned = (gain.reshape(len(gain), -1, 3) @ rotation).reshape(gain.shape)
    one, other = (dugh(data, g, 3, learn_orient=learn_orient) for g in (gain, turned))
    vectors = other.mean(data).reshape(len(data), -1, 3, data.shape[2])
    back = np.einsum("ij,gnjt->gnit", rotation, vectors).reshape(one.mean(data).shape)
    np.testing.assert_allclose(back, one.mean(data), rtol=1e-5, atol=1e-8)


@each
@both
def test_active_sources_are_found(temporal, noise, simulate):
    data, gain, active = simulate(n_sensors=20, n_locations=100)
    std = 0.3 / np.sqrt(1 - 0.9**2)  # of the noise, which is known where it is not learned
    result = dugh(data / std, gain, temporal=temporal, noise=noise)
    assert set(np.argsort(-result.source_variance)[:2]) == set(active)


@pytest.mark.parametrize("temporal", ["full", "toeplitz"])
def test_temporal_covariance_is_recovered(temporal, simulate):
    data, gain, _ = simulate(n_trials=60, n_sensors=30, n_locations=60, n_times=25, ar=0.8)
    learned = dugh(data, gain, temporal=temporal, max_iter=500).temporal_covariance
    truth = toeplitz(0.8 ** np.arange(25))
    assert np.linalg.norm(learned - truth) < 0.1 * np.linalg.norm(truth)
    assert np.linalg.eigvalsh(learned).min() > 0.5 * np.linalg.eigvalsh(truth).min()


def test_full_covariance_uses_no_more_components_than_the_data_can_teach(simulate):
    """A quarter of the 40 rows: those in which the data have most power."""
    data, gain, active = simulate(n_trials=1, n_sensors=40, n_locations=200, n_times=100)
    result = dugh(data, gain, temporal="full")
    leading = np.linalg.svd(data[0])[2][:10]
    projector = leading.T @ leading
    learned = result.temporal_covariance
    np.testing.assert_allclose(projector @ learned @ projector, learned, atol=1e-9)
    assert np.linalg.matrix_rank(learned, tol=1e-9) == 10
    variance = result.posterior.covariances()[0, 0, 0] / result.posterior.covariance[0, 0, 0]
    np.testing.assert_allclose(variance, np.diag(learned), rtol=1e-9)
    assert np.isnan(result.log_likelihood)
    assert set(np.argsort(-result.source_variance)[:2]) == set(active)


def test_noise_level_is_learned_where_sources_cannot_explain_it():
    rng = np.random.default_rng(5)
    gain = rng.standard_normal((40, 5))
    levels = np.repeat([0.5, 2.0], 20)
    noise = levels[:, None] * rng.standard_normal((20, 40, 50))
    data = gain @ rng.standard_normal((20, 5, 50)) + noise
    result = dugh(data, gain, temporal="identity")
    np.testing.assert_allclose(np.sqrt(result.noise_variance), levels, rtol=0.08)
    scalar = dugh(data, gain, temporal="identity", noise="scalar").noise_variance
    assert scalar[0] == pytest.approx(np.mean(levels**2), rel=0.02)


def test_a_family_and_a_noise_model_of_ones_own(simulate):
    data, gain, _ = simulate()
    named = dugh(data, gain, temporal="toeplitz", noise="scalar")
    given = dugh(data, gain, temporal=TEMPORAL["toeplitz"], noise=NOISE["scalar"])
    np.testing.assert_array_equal(named.mean(data), given.mean(data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal": "ar"}, r"temporal must be one of \['ar1'.*'toeplitz'\]"),
        ({"noise": "ar"}, r"noise must be one of \['diagonal'.*'scalar'\]"),
        ({"noise": None}, "noise must be one of"),
        ({"occam": 0.5}, r"occam must be .* at least 1, got 0\.5"),
        ({"occam": np.inf}, "occam must be a finite number of at least 1, got inf"),
        ({"occam": np.nan}, "occam must be a finite number of at least 1, got nan"),
        ({"occam": "2"}, "occam must be a finite number of at least 1, got '2'"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1, got 0"),
        ({"max_iter": 9.5}, r"max_iter must be an integer of at least 1, got 9\.5"),
        ({"max_iter": True}, "max_iter must be an integer of at least 1, got True"),
        ({"tol": -1.0}, r"tol must be a positive finite number, got -1\.0"),
        ({"tol": np.nan}, "tol must be a positive finite number, got nan"),
        ({"select": "no"}, "select must be True or False, got 'no'"),
        ({"learn_orient": 1}, "learn_orient must be True or False, got 1"),
        ({"temporal": len}, "temporal must be one of .* a class with the methods of"),
        ({"n_orient": 0}, "n_orient must be a positive integer that divides the 30 columns .* 0"),
        ({"n_orient": 4}, "n_orient must be a positive integer that divides the 30 columns .* 4"),
        ({"noise_basis": np.eye(12)[:, :5]}, "noise_basis has the rank 5, but .* 12 sensors"),
        ({"noise_basis": np.eye(5)}, r"noise_basis must have the shape .* got \(5, 5\)"),
        ({"on_interrupt": "stop"}, '"raise" or "keep", got \'stop\''),
    ],
)
def test_options_without_meaning_are_refused(options, message, simulate):
    data, gain, _ = simulate()
    with pytest.raises(ValueError, match=message):
        dugh(data, gain, **options)


def test_a_function_that_is_none_is_refused(simulate):
    data, gain, _ = simulate()
    with pytest.raises(TypeError, match="on_sweep must be a function or None, got 7"):
        dugh(data, gain, on_sweep=7)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda data, gain: (0 * data, gain), ValueError, "data are zero throughout"),
        (lambda data, gain: (data, 0 * gain), ValueError, "gain is zero throughout"),
        (lambda data, gain: (data[0], gain), ValueError, r"\(12, 20\): pass data\[np.newaxis\]"),
        (lambda data, gain: (data[:, :, :0], gain), ValueError, r"data .* got \(3, 12, 0\)"),
        (lambda data, gain: (data[:, :9], gain), ValueError, r"gain .* 9 sensors .* \(12, 30\)"),
        (lambda data, gain: (data, gain[:, :0]), ValueError, r"gain must .* got \(12, 0\)"),
        (lambda data, gain: (data, gain[0]), ValueError, r"gain must .* got \(30,\)"),
        (lambda data, gain: (data * 1j, gain), TypeError, "data must .* got complex numbers"),
        (lambda data, gain: ({"ch": 1}, gain), TypeError, "data must .* got dict"),
        (lambda data, gain: (data, [[1.0], [1.0, 2.0]]), TypeError, "gain must .* got list"),
        (lambda data, gain: (data * np.nan, gain), ValueError, "data must be finite"),
        (lambda data, gain: (data, gain / 0.0), ValueError, "gain must be finite"),
        (lambda data, gain: (1e-80 * data, gain), ValueError, "magnitude of data is .*whiten"),
        (lambda data, gain: (data, 1e80 * gain), ValueError, "magnitude of gain is .*whiten"),
        (lambda data, gain: (np.ma.masked_greater(data, 1), gain), ValueError,
         r"data is a masked array: .*data\.filled\(value\)"),
        (lambda data, gain: (data, np.ma.masked_greater(gain, 1)), ValueError,
         r"gain is a masked array: .*gain\.filled\(value\)"),
    ],
)  # fmt: skip
def test_arrays_from_which_nothing_can_be_learned_are_refused(spoil, error, message, simulate):
    data, gain, _ = simulate()
    with np.errstate(all="ignore"):
        data, gain = spoil(data, gain)
    with pytest.raises(error, match=message):
        dugh(data, gain)


def test_progress_is_reported_and_the_limit_kept(simulate):
    data, gain, _ = simulate()
    seen = []
    result = dugh(data, gain, max_iter=4, tol=1e-15, on_sweep=lambda *now: seen.append(now))
    assert not result.converged
    sweeps, costs, counts = zip(*seen, strict=True)
    assert sweeps == tuple(range(5))
    np.testing.assert_array_equal(costs, result.cost)
    assert counts[0] == gain.shape[1]
    assert counts[-1] == len(result.active)
