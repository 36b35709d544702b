"""eLORETA against MNE's and against its theorem; the voxel grid gives back what it takes."""

import mne
import numpy as np
import pytest

from mne_piunet.kernel.eloreta import LAMBDAS, eloreta
from mne_piunet.kernel.grid import SPACING, make_blocks, make_grid
from mne_piunet.kernel.inputs import N_INPUTS, N_MOMENTS, make_physics


@pytest.fixture(scope="module")
def whitened(forwards):
    """Gain of 32 electrodes without their mean, and positions of the sources."""
    forward = forwards["surface"]
    basis = np.linalg.svd(np.eye(32) - 1 / 32)[0][:, :-1].T
    gain = basis @ forward["sol"]["data"]
    return gain / np.sqrt(np.mean(gain**2)), forward["source_rr"]


# %% Pseudo-inverse


def test_forward_columns_are_localized_exactly(whitened):
    """Zero localization error without noise: the theorem of eLORETA."""
    gain, _ = whitened
    inverse = eloreta(gain)
    columns = np.arange(1, gain.shape[1], 40)
    sources = inverse.apply(gain[:, columns], lambdas=[0.05])[0].reshape(-1, 3, len(columns))
    found = np.linalg.norm(sources, axis=1).argmax(axis=0)
    assert np.mean(found == columns // 3) > 0.97


@pytest.mark.parametrize("n_orient", [1, 3])
def test_equals_mne(eeg_evoked, eeg_cov, forwards, n_orient):
    """The fixed point with the same lambda; MNE scales its gain differently."""
    forward = mne.convert_forward_solution(
        forwards["surface"], surf_ori=n_orient == 1, force_fixed=n_orient == 1, verbose=False
    )
    inverse = mne.minimum_norm.make_inverse_operator(
        eeg_evoked.info, forward, eeg_cov, loose=2 * (n_orient - 1) / 4, depth=None, verbose=False,
        fixed=n_orient == 1,
    )  # fmt: skip
    stc = mne.minimum_norm.apply_inverse(
        eeg_evoked, inverse, 0.05, "eLORETA", pick_ori="vector" if n_orient == 3 else None,
        verbose=False,
    )  # fmt: skip
    whitener, _ = mne.cov.compute_whitener(eeg_cov, eeg_evoked.info, pca=True, verbose=False)
    gain = whitener @ forward["sol"]["data"]
    ours = eloreta(gain, n_orient).apply(whitener @ eeg_evoked.data, lambdas=[0.05])[0]
    theirs = stc.data.reshape(ours.shape)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


def test_regularizations_equal_their_definition(whitened):
    gain, _ = whitened
    gain = gain[:, :300]
    inverse = eloreta(gain)
    left = inverse.back @ inverse.basis.T  # W^-1 L^T
    gram = gain @ left
    np.testing.assert_allclose(np.trace(gram), len(gain), rtol=1e-6)
    data = np.random.default_rng(0).standard_normal((len(gain), 2))
    for k, lam in enumerate(LAMBDAS):
        expected = left @ np.linalg.solve(gram + lam * np.eye(len(gain)), data)
        np.testing.assert_allclose(inverse.apply(data)[k], expected, rtol=1e-6, atol=1e-9)


def test_parts_make_no_difference(whitened, monkeypatch):
    gain, _ = whitened
    whole = eloreta(gain)
    monkeypatch.setattr("mne_piunet.kernel.eloreta._PART", 100)  # the last one is smaller
    parts = eloreta(gain)
    assert gain.shape[1] % 300
    data = gain[:, ::500]
    np.testing.assert_allclose(parts.apply(data), whole.apply(data), atol=1e-9)


def test_weights_are_a_fixed_point(whitened):
    """W_n^2 is L_n^T (L W^-1 L^T + lambda I)^-1 L_n up to one factor, for every source."""
    gain, _ = whitened
    inverse = eloreta(gain)
    left = inverse.back @ inverse.basis.T
    blocks = gain.T.reshape(-1, 3, len(gain))
    kernel = np.linalg.inv(gain @ left + 0.05 * np.eye(len(gain)))
    squares = blocks @ kernel @ blocks.transpose(0, 2, 1)
    weights = np.linalg.solve(
        blocks @ blocks.transpose(0, 2, 1),
        blocks @ left.reshape(-1, 3, len(gain)).transpose(0, 2, 1),
    )  # of L_n W_n^-1 = the block of `left`
    product = weights @ squares @ weights
    factor = np.trace(product, axis1=1, axis2=2) / 3
    np.testing.assert_allclose(factor, np.median(factor), rtol=0.02)


# %% Grid


@pytest.mark.parametrize("pitch", [0.003, 0.005, SPACING, 0.010, 0.020])
def test_voxels_hold_all_that_sources_have(pitch):
    axis = pitch * np.arange(-4, 5)
    points = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    points = points[np.linalg.norm(points, axis=1) < 4.1 * pitch] + [0.0013, 0.002, 0.04]
    grid = make_grid(points, multiple=4)
    assert all(n % 4 == 0 for n in grid.shape)
    moments = np.random.default_rng(0).standard_normal((len(points), 3))
    np.testing.assert_allclose((grid.scatter @ moments).sum(axis=0), moments.sum(axis=0))
    if pitch >= SPACING:  # every source has voxels of its own
        held = np.count_nonzero(grid.n_sources) / (len(points) * (pitch / SPACING) ** 3)
        assert held == pytest.approx(1, abs=0.35)  # and they fill the space between the sources


def test_grid_keeps_places(whitened):
    _, positions = whitened
    grid = make_grid(positions)
    voxel = grid.scatter.tocsc().indices[grid.scatter.tocsc().indptr[:-1]]
    assert np.abs(positions - grid.centers[voxel]).max() < 0.501 * SPACING
    index = np.stack(np.unravel_index(voxel, grid.shape), axis=1)
    offset = grid.centers[voxel] - SPACING * index
    np.testing.assert_allclose(offset, offset[:1].repeat(len(offset), axis=0))


def test_one_source_makes_one_voxel():
    grid = make_grid(np.array([[0.01, 0.02, 0.05]]))
    assert grid.shape == (1, 1, 1)
    assert grid.scatter.toarray() == 1


def test_blocks_are_those_with_sources():
    inside = np.zeros((4, 6, 8), bool)
    inside[0, 1, 2] = inside[3, 4, 6] = inside[2, 5, 7] = True
    blocks = make_blocks(inside, 2)
    assert blocks.shape == inside.shape
    assert blocks.voxels.shape == (8, 2)
    assert [blocks.places[0, 0, 1], blocks.places[1, 2, 3]] == [0, 1]
    assert np.sum(blocks.places == 2) == 2 * 3 * 4 - 2
    voxels = np.flatnonzero(inside)
    values = np.zeros((1, 1, 16))
    values[:, :, blocks.columns(voxels)] = [5, 6, 7]
    expected = np.zeros(inside.shape)
    expected[inside] = [5, 6, 7]
    np.testing.assert_array_equal(blocks.on_grid(values)[0, 0], expected)


# %% Inputs


def test_inputs_are_the_pseudo_inverse_on_the_grid(whitened):
    gain, positions = whitened
    physics = make_physics(gain, positions, side=2, multiple=8)
    data = np.random.default_rng(0).standard_normal((len(gain), 2))
    inputs = physics.blocks.on_grid(physics.inputs(data))
    assert inputs.shape == (2, N_INPUTS, *physics.grid.shape)
    sources = eloreta(gain).apply(data).reshape(len(LAMBDAS), -1, 3, 2)
    for k in range(len(LAMBDAS)):
        voxels = physics.grid.scatter @ sources[k].reshape(-1, 6)
        voxels = voxels.reshape(-1, 3, 2)
        voxels /= np.linalg.norm(voxels, axis=1).max(axis=0)
        got = inputs[:, 3 * k : 3 * k + 3].reshape(2, 3, -1).transpose(2, 1, 0)
        np.testing.assert_allclose(got, voxels, atol=2e-3)
    mask = inputs[0, N_MOMENTS + 1] > 0
    assert mask.sum() == len(physics.voxels)
    assert not inputs[:, :, ~mask].any()


def test_inputs_do_not_depend_on_blocks_and_padding(whitened):
    gain, positions = whitened
    data = np.random.default_rng(0).standard_normal((len(gain), 2))
    bare, padded = (
        make_physics(gain, positions, side=side, multiple=multiple)
        for side, multiple in ((1, 1), (2, 16))
    )
    assert np.prod(padded.grid.shape) > np.prod(bare.grid.shape)
    one, other = (physics.inputs(data)[:, :, physics.columns] for physics in (bare, padded))
    np.testing.assert_allclose(other, one, atol=1e-4)


def test_inputs_do_not_depend_on_the_unit_of_the_gain(whitened):
    gain, positions = whitened
    data = np.random.default_rng(0).standard_normal((len(gain), 1))
    one, other = (make_physics(c * gain, positions).inputs(data) for c in (1, 1e3))
    np.testing.assert_allclose(other, one, atol=2e-3)


def test_fixed_orientations_point_along_the_normals(whitened):
    gain, positions = whitened
    normals = np.random.default_rng(0).standard_normal(positions.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    positions = positions[:1].repeat(4, axis=0) + np.arange(4)[:, None] * [SPACING, 0, 0]
    fixed = np.einsum("mnk,nk->mn", gain.reshape(len(gain), -1, 3), normals)[:, :4]
    physics = make_physics(fixed, positions, normals[:4])
    inputs = physics.inputs(np.random.default_rng(1).standard_normal((len(gain), 1)))
    got = inputs[0, :3, physics.columns]
    got /= np.linalg.norm(got, axis=1, keepdims=True)
    order = np.argsort(physics.grid.scatter[physics.voxels].indices)
    np.testing.assert_allclose(np.abs(np.sum(got[order] * normals[:4], axis=1)), 1, atol=1e-5)


def test_silence_is_finite(whitened):
    gain, positions = whitened
    inputs = make_physics(gain, positions).inputs(np.zeros((len(gain), 1)))
    assert np.isfinite(inputs).all()
    assert not inputs[:, :N_MOMENTS].any()
