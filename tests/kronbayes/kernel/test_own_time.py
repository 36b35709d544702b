"""Noise with a temporal covariance of its own, and weights of the Occam term."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.shared_time import SharedTime
from mne_kronbayes.kernel.state import State
from mne_kronbayes.kernel.temporal import TEMPORAL


@pytest.mark.parametrize(
    ("noise", "noise_temporal"),
    [("fixed", "white"), ("scalar", "shared"), ("diagonal", "white"), ("full", "shared")],
)
def test_a_larger_weight_of_the_occam_term_leaves_fewer_sources(
    noise, noise_temporal, in_white_noise
):
    """Where the gain errs, which looks like sources."""
    data, gain, _ = in_white_noise(n_trials=2, n_locations=200)
    gain = gain + 0.2 * np.random.default_rng(3).standard_normal(gain.shape)
    counts = []
    for occam in (1.0, 2.0, 8.0):
        result = dugh(data, gain, noise=noise, noise_temporal=noise_temporal, occam=occam)
        counts.append(len(result.active))
    assert counts[0] >= counts[1] >= counts[2]
    assert counts[0] > counts[2]


def test_with_known_noise_occam_is_a_factor_of_the_noise(in_white_noise):
    """For white time courses occam log|Sigma| is the cost of the data for Sigma occam times."""
    data, gain, _ = in_white_noise(n_trials=2)
    options = dict(temporal="identity", noise="fixed", tol=1e-9, max_iter=2000)
    weighed = dugh(data, gain, occam=3, **options)
    noisy = dugh(data, gain, noise_basis=np.sqrt(3) * np.eye(len(gain)), **options)
    assert weighed.converged
    assert noisy.converged
    assert set(weighed.active) == set(noisy.active)
    np.testing.assert_allclose(3 * weighed.source_variance, noisy.source_variance, rtol=1e-3)
    np.testing.assert_allclose(weighed.mean(data), noisy.mean(data), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("occam", [1.0, 3.0])
def test_it_ends_in_a_minimum(occam, in_white_noise):
    """Of the variance of each true source and of each sensor's noise alone."""
    data, gain, active = in_white_noise(n_trials=8)
    options = dict(temporal="identity", occam=occam, tol=1e-9, max_iter=2000)
    found = dugh(data, gain, **options)
    rows = np.ascontiguousarray(data.transpose(1, 0, 2))
    state = State(
        gain[:, found.active], found.active, found.source_variance[found.active],
        np.ones((len(found.active), 1, 1)),
        NOISE["diagonal"](np.diag(np.sqrt(found.noise_variance)), 1.0, 0.0, 1),
        TEMPORAL["identity"](30),
    )  # fmt: skip
    cost = SharedTime(state, rows, occam).cost
    assert cost == pytest.approx(found.cost[-1], rel=1e-9)
    for k, factor in itertools.product(active, (0.97, 1.03)):
        gamma = state.gamma * np.where(found.active == k, factor, 1)
        assert SharedTime(replace(state, gamma=gamma), rows, occam).cost > cost
    for k, factor in itertools.product(range(len(gain)), (0.97, 1.03)):
        variance = found.noise_variance * np.where(np.arange(len(gain)) == k, factor, 1)
        noise = NOISE["diagonal"](np.diag(np.sqrt(variance)), 1.0, 0.0, 1)
        assert SharedTime(replace(state, noise=noise), rows, occam).cost > cost


def test_white_noise_and_white_sources_are_the_shared_model(in_white_noise):
    data, gain, _ = in_white_noise()
    one = dugh(data, gain, temporal="identity", noise_temporal="white")
    other = dugh(data, gain, temporal="identity", noise_temporal="shared")
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-9)
    np.testing.assert_allclose(
        one.mean(data), other.mean(data), atol=1e-6 * np.abs(one.mean(data)).max()
    )


def test_smooth_sources_in_white_noise_are_better_estimated_by_the_true_model(in_white_noise):
    gains = []
    for seed in range(3):
        data, gain, _ = in_white_noise(seed=seed, noise=8.0, n_trials=8)
        clean, _, _ = in_white_noise(seed=seed, noise=0.0, n_trials=8)
        errors = []
        for noise_temporal in ("white", "shared"):
            found = dugh(data, gain, noise_temporal=noise_temporal).mean(data)
            errors.append(np.sum((gain @ found - clean) ** 2) / np.sum(clean**2))
        gains.append(errors[1] / errors[0])
    assert min(gains) > 1.8


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
    data = gain @ truth + 2 * noise
    result = dugh(data, gain, noise_temporal=noise_temporal)
    std = np.sqrt(np.einsum("noot->nt", result.posterior.covariances()))
    distance = np.abs(truth - result.mean(data)) / std
    for level, width in [(0.5, 0.6745), (0.8, 1.2816), (0.95, 1.96)]:
        assert np.mean(distance <= width) == pytest.approx(level, abs=0.03)


def test_lags_stand_for_a_toeplitz_matrix_of_any_scale(in_white_noise):
    data, gain, _ = in_white_noise(n_trials=2)
    lags = 0.3 ** np.arange(30)
    one = dugh(data, gain, noise_temporal=lags, max_iter=20)
    other = dugh(data, gain, noise_temporal=7 * toeplitz(lags), max_iter=20)
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-9)
    np.testing.assert_allclose(one.mean(data), other.mean(data), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pink", '"shared", "white" or a covariance'),
        (np.ones(7), r"shape \(7, 7\), but the data have 30"),
        (np.ones(30), "not positive definite"),
        (-np.eye(30), "not positive definite"),
        (np.triu(np.ones((30, 30))), r"not symmetric.* pass \(c \+ c.T\) / 2"),
        (np.eye(30)[:20], r"must have the shape \(n_times,\) or .* got \(20, 30\)"),
        (np.full(30, np.nan), "must be finite"),
        (np.ma.masked_less(np.eye(30), 0.5), "masked array"),
    ],
)
def test_mistakes_are_named(given, message, in_white_noise):
    data, gain, _ = in_white_noise()
    with pytest.raises(ValueError, match=message):
        dugh(data, gain, noise_temporal=given)


@pytest.mark.parametrize("given", [None, {"lags": 1}, [1j] * 30, True])
def test_noise_temporal_that_is_no_covariance_is_refused(given, in_white_noise):
    data, gain, _ = in_white_noise()
    with pytest.raises(TypeError, match='noise_temporal must be "shared", "white" or a covar'):
        dugh(data, gain, noise_temporal=given)
