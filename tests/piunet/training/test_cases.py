"""Examples are what they claim."""

import numpy as np
import pytest

from mne_piunet.kernel.inputs import MASK, N_INPUTS
from mne_piunet.training.cases import background, draw_case, reference_basis


def test_reference_basis():
    kinds = np.array(["eeg", "mag", "eeg", "grad", "eeg"])
    basis = reference_basis(kinds)
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(basis @ (kinds == "eeg"), 0, atol=1e-12)
    np.testing.assert_allclose(basis.T @ basis @ [0, 1, 0, 2, 0], [0, 1, 0, 2, 0], atol=1e-12)


def test_background_is_a_share_of_the_noise():
    """Between sensor noise alone and 60 % of activity, with the power of the sensor noise."""
    rng = np.random.default_rng(0)
    sensor, gain = np.diag([1.0, 2.0, 3.0]), rng.standard_normal((3, 5))
    brain = gain @ gain.T * 6 / np.trace(gain @ gain.T)
    for _ in range(5):
        noise = background(sensor, gain, rng)
        share = (noise - sensor)[0, 1] / (brain - sensor)[0, 1]
        assert 0 <= share <= 0.6
        np.testing.assert_allclose(noise, (1 - share) * sensor + share * brain, atol=1e-12)


def test_noise_is_what_the_ratio_says(heads):
    """Loud data show the field of the sources alone, silent ones noise of unit power."""
    case = draw_case(heads[0], np.random.default_rng(0))
    loud, _ = case.draw(20, np.random.default_rng(1), n_sources=1, snr=80.0)
    soft, _ = case.draw(20, np.random.default_rng(1), n_sources=1, snr=-80.0)
    mask = loud[0, MASK] > 0
    levels = [30 * np.median(x[:, MASK - 2][:, mask]) for x in (loud, soft)]
    assert levels[0] == pytest.approx(80, abs=4)
    assert levels[1] == pytest.approx(0, abs=4)


def test_sources_of_a_fixed_cortex_follow_the_normals(heads):
    cases = (draw_case(heads[1], np.random.default_rng(seed)) for seed in range(20))
    case = next(case for case in cases if case.fixed)
    moments = case.draw_moments(np.random.default_rng(0), n_sources=2)
    along = np.sum(moments * case.normals, axis=1)
    np.testing.assert_allclose(np.abs(along), np.linalg.norm(moments, axis=1), atol=1e-5)
    assert np.abs(along).max() > 0


def test_targets_are_scaled_and_where_the_sources_are(heads):
    case = draw_case(heads[1], np.random.default_rng(0))
    rng = np.random.default_rng(0)
    moments = np.stack([case.draw_moments(rng) for _ in range(6)])
    inputs, targets = case.inputs(moments, rng), case.targets(moments)
    assert inputs.shape == (6, N_INPUTS, *targets.shape[2:])
    np.testing.assert_allclose(targets[:, 3].sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    assert not targets[:, :, inputs[0, MASK] == 0].any()
    assert (np.linalg.norm(targets[:, :3], axis=1) <= targets[:, 3] + 1e-6).all()
    strength = np.linalg.norm(moments, axis=2).sum(axis=1, keepdims=True)
    total = targets[:, :3].sum(axis=(2, 3, 4))
    np.testing.assert_allclose(total, moments.sum(axis=1) / strength, atol=1e-5)
    places = case.voxel_model.grid.centers.reshape(*targets.shape[2:], 3)
    center = np.einsum("nxyz,xyzi->ni", targets[:, 3], places)
    weights = np.linalg.norm(moments, axis=2) / strength
    np.testing.assert_allclose(center, weights @ case.positions, atol=0.007)


def test_draw_is_moments_then_inputs(heads):
    case = draw_case(heads[0], np.random.default_rng(0))
    inputs, targets = case.draw(2, np.random.default_rng(5), n_sources=3, snr=10.0)
    rng = np.random.default_rng(5)
    moments = np.stack([case.draw_moments(rng, 3) for _ in range(2)])
    np.testing.assert_array_equal(inputs, case.inputs(moments, rng, 10.0))
    np.testing.assert_array_equal(targets, case.targets(moments))
