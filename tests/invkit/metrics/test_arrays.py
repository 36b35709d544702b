"""Metrics against values known on paper, and their invariances."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mne_invkit.metrics.arrays import (
    _emd,
    amplitude_error,
    find_peaks,
    localization_error,
    location_strength,
    normalized_emd,
    source_auc,
    spatial_dispersion,
    time_course_error,
)

RNG = np.random.default_rng(0)
POSITIONS = RNG.uniform(-0.07, 0.07, (300, 3))
LINE = np.column_stack([np.arange(11) / 100, np.zeros(11), np.zeros(11)])  # m


def one_hot(index):
    return np.eye(11)[index]


@pytest.fixture(scope="module")
def noisy():
    truth = np.zeros((300, 40))
    truth[[5, 100, 250]] = RNG.standard_normal((3, 40)) * 1e-8
    return truth, truth + 1e-9 * RNG.standard_normal(truth.shape)


# %% Analytic values


def test_strength_is_the_rms_of_the_magnitude():
    data = np.zeros((2, 3, 4))
    data[0, :, :2] = [[3.0], [4.0], [0.0]]
    np.testing.assert_allclose(location_strength(data), [5 / np.sqrt(2), 0])
    np.testing.assert_allclose(location_strength([[3, -4], [0, 0]]), [np.sqrt(12.5), 0])
    np.testing.assert_allclose(location_strength([-2.0, 1.0]), [2, 1])


@pytest.mark.parametrize("estimate", range(11))
def test_single_source(estimate):
    truth, other, distance = one_hot(3), one_hot(estimate), abs(3 - estimate) / 100
    assert localization_error(truth, other, LINE) == pytest.approx(distance)
    uniform = np.mean(np.abs(LINE[:, 0] - 0.03))
    assert normalized_emd(truth, other, LINE) == pytest.approx(distance / uniform)
    assert spatial_dispersion(other, LINE, LINE[3]) == pytest.approx(distance)


def test_emd_of_truth_and_of_uniform(noisy):
    truth, _ = noisy
    assert normalized_emd(truth, truth, POSITIONS) == 0
    assert normalized_emd(truth, -3 * truth, POSITIONS) == pytest.approx(0, abs=1e-9)
    assert normalized_emd(truth, np.ones(300), POSITIONS) == pytest.approx(1)


def test_emd_on_a_line_is_the_area_between_cumulative_sums():
    p, q = RNG.random((2, 11))
    area = np.abs(np.cumsum(p / p.sum() - q / q.sum())).sum() * 0.01
    uniform = np.abs(np.cumsum(1 / 11 - q / q.sum())).sum() * 0.01
    assert normalized_emd(q, p, LINE) == pytest.approx(area / uniform)


def test_emd_splits_mass():
    truth, estimate = one_hot(0) + one_hot(10), one_hot(5)
    assert _emd(estimate, truth, LINE) == pytest.approx(0.05)
    assert _emd(truth, one_hot(0) + 3 * one_hot(10), LINE) == pytest.approx(0.025)


def test_find_peaks_takes_local_maxima_only():
    slope = np.array([9.0, 10, 8, 7, 6, 5, 4, 3, 2.5, 3.5, 0])
    np.testing.assert_array_equal(find_peaks(slope, LINE, radius=0.015), [1, 9])
    np.testing.assert_array_equal(find_peaks(slope, LINE, radius=0.015, n_peaks=1), [1])
    assert not len(find_peaks(np.zeros(11), LINE))
    flat = find_peaks(np.ones(11), LINE, radius=0.0)
    np.testing.assert_array_equal(flat, np.arange(11))


def test_localization_error_of_several_sources():
    truth = one_hot(0) + one_hot(5)
    estimate = 2 * one_hot(1) + one_hot(8) + 0.5 * one_hot(4)
    # the two strongest peaks are 1 and 8, so 4 does not count: 1 cm and 3 cm
    assert localization_error(truth, estimate, LINE) == pytest.approx(0.02)
    only_one = localization_error(truth, one_hot(0), LINE)
    assert only_one == pytest.approx(0.025)


def test_dispersion_weights_power_and_takes_the_nearest_center():
    estimate = one_hot(0) + 2 * one_hot(4)
    expected = np.sqrt((4 * 0.04**2) / 5)
    assert spatial_dispersion(estimate, LINE, LINE[0]) == pytest.approx(expected)
    assert spatial_dispersion(estimate, LINE, LINE[[0, 4]]) == 0


@pytest.mark.parametrize("ties", [False, True])
def test_auc_agrees_with_sklearn(ties):
    sklearn = pytest.importorskip("sklearn.metrics")
    mask = RNG.random(200) < 0.2
    estimate = RNG.standard_normal(200) + mask
    if ties:
        estimate = np.round(estimate)
    expected = sklearn.roc_auc_score(mask, np.abs(estimate))
    assert source_auc(mask, estimate) == pytest.approx(expected, abs=1e-12)


def test_auc_of_extremes():
    mask = np.arange(10) < 3
    assert source_auc(mask, 10.0 - np.arange(10)) == 1
    assert source_auc(mask, 1.0 + np.arange(10)) == 0
    assert source_auc(mask, np.ones(10)) == 0.5


def test_time_course_error():
    t = np.arange(200) / 200
    sine, cosine = np.sin(2 * np.pi * 5 * t), np.cos(2 * np.pi * 5 * t)
    truth, estimate = np.zeros((11, 200)), np.zeros((11, 3, 200))
    truth[2] = sine
    estimate[3] = np.outer([1, -2, 0.5], sine)  # a centimetre away, another scale
    assert time_course_error(truth, estimate, LINE) == pytest.approx(0, abs=1e-12)
    estimate[3] = np.outer([0, 1, 0], cosine)
    assert time_course_error(truth, estimate, LINE) == pytest.approx(1)
    mixed = np.zeros((11, 200))
    mixed[2] = -sine - cosine
    expected = 1 - 1 / np.sqrt(2)
    assert time_course_error(truth, mixed, LINE) == pytest.approx(expected)
    for poor in (np.zeros((11, 200)), np.ones((11, 200)), np.roll(truth, 5, axis=0)):
        assert time_course_error(truth, poor, LINE) == 1


def test_amplitude_error():
    truth = RNG.standard_normal((11, 20))
    assert amplitude_error(truth, -truth) == 0
    assert amplitude_error(truth, np.zeros((11, 20))) == 1
    assert amplitude_error(truth, 3 * truth) == pytest.approx(4)


# %% Invariances


def compute_all(truth, estimate, positions):
    centers = positions[find_peaks(truth, positions)]
    return [
        localization_error(truth, estimate, positions),
        normalized_emd(truth, estimate, positions),
        spatial_dispersion(estimate, positions, centers),
        time_course_error(truth, estimate, positions),
        source_auc(location_strength(truth) > 0, estimate),
    ]


def test_rigid_motion_scale_sign_and_order_change_nothing(noisy):
    truth, estimate = noisy
    expected = compute_all(truth, estimate, POSITIONS)
    moved = Rotation.from_rotvec([0.4, -1.2, 2.0]).apply(POSITIONS) + np.array([0.01, -0.3, 2])
    np.testing.assert_allclose(compute_all(truth, estimate, moved), expected, rtol=1e-6)
    scaled = compute_all(1e6 * truth, -1e9 * estimate, POSITIONS)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6, atol=1e-12)
    order = RNG.permutation(300)
    shuffled = compute_all(truth[order], estimate[order], POSITIONS[order])
    np.testing.assert_allclose(shuffled, expected, rtol=1e-6)


def test_rotating_orientations_changes_nothing(noisy):
    truth, estimate = noisy
    expected = compute_all(truth, estimate, POSITIONS)
    directions = RNG.standard_normal((300, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vector = truth[:, None] * directions[:, :, None]
    assert localization_error(vector, estimate, POSITIONS) == expected[0]
    assert normalized_emd(vector, estimate, POSITIONS) == pytest.approx(expected[1])
    assert time_course_error(vector, truth, POSITIONS) == pytest.approx(0, abs=1e-9)
    assert amplitude_error(vector, truth) == pytest.approx(0, abs=1e-12)


def test_emd_of_many_sources_is_fast():
    positions = RNG.uniform(-0.07, 0.07, (20_000, 3))
    truth = np.zeros(20_000)
    truth[[7, 70]] = 1
    emd = normalized_emd(truth, RNG.random(20_000), positions)
    assert emd == pytest.approx(1, abs=0.02)  # random strengths are uniform but for grain


# %% Errors


def test_errors_say_what_to_do(monkeypatch):
    truth = one_hot(0)
    with pytest.raises(ValueError, match="estimate is zero everywhere"):
        localization_error(truth, np.zeros(11), LINE)
    with pytest.raises(ValueError, match="estimate has 10 rows for 11 positions"):
        normalized_emd(truth, np.ones(10), LINE)
    with pytest.raises(ValueError, match="uniform"):
        normalized_emd(np.ones(11), truth, LINE)
    with pytest.raises(ValueError, match="shape"):
        location_strength(np.ones((11, 2, 5)))
    with pytest.raises(ValueError, match="not finite"):
        location_strength([np.nan, 1])
    with pytest.raises(ValueError, match="both active and silent locations"):
        source_auc(np.ones(11), truth)
    with pytest.raises(ValueError, match="truth_mask"):
        source_auc(np.ones(10), truth)
    with pytest.raises(ValueError, match="3 samples"):
        time_course_error(truth, truth, LINE)
    with pytest.raises(ValueError, match="shapes"):
        amplitude_error(truth, np.ones(3))
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"mne-invkit\[metrics\]"):
        normalized_emd(truth, truth, LINE)
