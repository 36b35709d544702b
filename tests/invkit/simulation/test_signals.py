"""Patches, time courses and noise have the shape, spectrum and power they were asked for."""

import numpy as np
import pytest

from mne_invkit.simulation.signals import (
    TIME_COURSES,
    draw_centers,
    gaussian_patches,
    sensor_noise,
    snr_factor,
    time_courses,
)

POSITIONS = np.random.default_rng(0).uniform(-0.07, 0.07, (200, 3))


# %% Sources and patches


def test_patch_is_a_truncated_gaussian():
    weights = gaussian_patches(POSITIONS, [3, 50], 0.02)
    distance = np.linalg.norm(POSITIONS[:, None] - POSITIONS[[3, 50]], axis=2)
    expected = np.exp(-(distance**2) / (2 * 0.02**2))
    np.testing.assert_allclose(weights, expected * (distance <= 0.06), atol=1e-12)
    np.testing.assert_array_equal(weights.max(axis=0), 1)
    np.testing.assert_array_equal(weights.argmax(axis=0), [3, 50])


def test_patch_of_no_extent_is_one_source_even_among_twins():
    twins = np.concatenate([POSITIONS, POSITIONS])
    weights = gaussian_patches(twins, [7], 0.0)
    np.testing.assert_array_equal(np.flatnonzero(weights), [7])


def test_drawn_centers_are_far_apart_and_any_of_those_left():
    """Five points on a line, 1 m apart: all pairs of two that are 2 m apart are drawn."""
    line = np.column_stack([np.arange(5.0), np.zeros(5), np.zeros(5)])
    drawn = [draw_centers(line, 2, 2.0, np.random.default_rng(seed)) for seed in range(200)]
    assert {tuple(pair.tolist()) for pair in drawn} == {
        (i, j) for i in range(5) for j in range(5) if abs(i - j) >= 2
    }
    twins = draw_centers(np.zeros((2, 3)), 2, 0.0, np.random.default_rng(0))
    assert sorted(twins) == [0, 1]
    with pytest.raises(ValueError, match=r"of 4 sources fit at least 2.0 m apart: lower min"):
        draw_centers(line, 4, 2.0, np.random.default_rng(0))


# %% Time courses and noise


def test_ar_is_stationary_with_the_asked_autocorrelation():
    courses = time_courses(20, 50, sfreq=100.0, kind="ar", ar=0.8, n_trials=1000, rng=0).reshape(
        -1, 50
    )
    cov = courses.T @ courses / len(courses)
    lags = np.abs(np.subtract.outer(np.arange(50), np.arange(50)))
    np.testing.assert_allclose(cov, 0.8**lags, atol=0.05)


@pytest.mark.parametrize("kind", [*TIME_COURSES, lambda n, t, **kw: np.ones((4, n, t))])
def test_time_courses_have_unit_variance(kind):
    courses = time_courses(3, 4000, sfreq=200.0, kind=kind, n_trials=4, rng=0)
    assert courses.shape == (4, 3, 4000)
    assert np.mean(courses**2) == pytest.approx(1, rel=0.1)


def test_oscillations_stay_in_their_band():
    courses = time_courses(
        5, 2000, sfreq=200.0, kind="oscillation", freqs=(10, 12), n_trials=3, rng=0
    )
    np.testing.assert_allclose(np.mean(courses**2, axis=-1), 1)
    power = np.abs(np.fft.rfft(courses)) ** 2
    freqs = np.fft.rfftfreq(2000, 1 / 200)
    inside = power[..., (freqs > 9.5) & (freqs < 12.5)].sum()
    assert inside / power.sum() > 0.999
    assert np.abs(courses[..., [0, -1]]).max() < 1e-3 * courses.max()  # the envelope closes


@pytest.mark.parametrize("rank", [6, 3])
@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_noise_has_the_asked_covariance(rank, unit):
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((6, rank))
    mixing[:2] *= 1e-6  # two channel types
    cov = unit**2 * mixing @ mixing.T
    noise = sensor_noise(6, 200, n_trials=200, spatial_cov=cov, ar=0.5, rng=1)
    rows = np.swapaxes(noise, 0, 1)
    std = np.sqrt(np.diag(cov))
    measured = np.cov(rows.reshape(6, -1)) / np.outer(std, std)
    np.testing.assert_allclose(measured, cov / np.outer(std, std), atol=0.04)
    rows = rows / std[:, None, None]
    singular = np.linalg.svd(rows.reshape(6, -1), compute_uv=False)
    assert np.sum(singular > 1e-6 * singular[0]) == rank
    assert np.mean(rows[..., 1:] * rows[..., :-1]) == pytest.approx(0.5, abs=0.02)


def test_noise_is_white_by_default():
    noise = sensor_noise(4, 20_000, rng=0)
    assert noise.shape == (1, 4, 20_000)
    np.testing.assert_allclose(np.cov(noise[0]), np.eye(4), atol=0.04)
    assert abs(np.mean(noise[..., 1:] * noise[..., :-1])) < 0.01


@pytest.mark.parametrize("snr_db", [-10, 0, 17.5])
def test_factor_gives_the_asked_snr(snr_db):
    rng = np.random.default_rng(0)
    signal, noise = rng.standard_normal((5, 30)), 7 * rng.standard_normal((4, 5, 60))
    whitener = rng.standard_normal((3, 5))
    for w in (None, whitener):
        scaled = snr_factor(signal, noise, snr_db, whitener=w) * noise
        w = np.eye(5) if w is None else w
        ratio = np.mean((w @ signal) ** 2) / np.mean((w @ scaled) ** 2)
        assert 10 * np.log10(ratio) == pytest.approx(snr_db)


# %% Errors


def test_array_errors():
    with pytest.raises(ValueError, match="extent"):
        gaussian_patches(POSITIONS, [0], -1)
    with pytest.raises(ValueError, match="'oscillation'"):
        time_courses(1, 10, sfreq=100.0, kind="sine")
    with pytest.raises(ValueError, match="stationary"):
        time_courses(1, 10, sfreq=100.0, ar=1.0)
    with pytest.raises(ValueError, match="sfreq / 2 = 50"):
        time_courses(1, 10, sfreq=100.0, kind="oscillation", freqs=(8, 60))
    with pytest.raises(ValueError, match="must return an array of shape"):
        time_courses(1, 10, sfreq=100.0, kind=lambda *args, **kwargs: np.ones(3))
    with pytest.raises(ValueError, match="shape"):
        sensor_noise(3, 10, spatial_cov=np.eye(4))
    for wrong in ([[1, 2], [2, 1]], [[1, 0.5], [0, 1]]):  # not positive, not symmetric
        with pytest.raises(ValueError, match="symmetric and positive semi-definite"):
            sensor_noise(2, 10, spatial_cov=1e-12 * np.array(wrong))
    with pytest.raises(ValueError, match="signal and noise"):
        snr_factor(np.zeros((2, 3)), np.ones((2, 3)), 10)
