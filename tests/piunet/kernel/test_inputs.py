"""Inputs of the network: what they hold, and what they must not depend on."""

import numpy as np

from mne_piunet.kernel.eloreta import LAMBDAS, eloreta
from mne_piunet.kernel.grid import SPACING
from mne_piunet.kernel.inputs import MASK, N_INPUTS, N_MOMENTS, N_PATCHES, make_voxel_model


def test_inputs_are_the_pseudo_inverse_on_the_grid(whitened):
    gain, positions = whitened
    voxel_model = make_voxel_model(gain, positions, block_side=2, multiple=8)
    data = np.random.default_rng(0).standard_normal((len(gain), 2))
    inputs = voxel_model.blocks.on_grid(voxel_model.inputs(data))
    assert inputs.shape == (2, N_INPUTS, *voxel_model.grid.shape)
    inverse = eloreta(gain)
    found = (inverse.back @ inverse.filters() @ data).reshape(len(LAMBDAS), -1, 3, 2)
    for k in range(len(LAMBDAS)):
        voxels = voxel_model.grid.scatter @ found[k].reshape(-1, 6)
        voxels = voxels.reshape(-1, 3, 2)
        voxels /= np.linalg.norm(voxels, axis=1).max(axis=0)
        got = inputs[:, 3 * k : 3 * k + 3].reshape(2, 3, -1).transpose(2, 1, 0)
        np.testing.assert_allclose(got, voxels, atol=2e-3)
    mask = inputs[0, MASK] > 0
    assert mask.sum() == len(voxel_model.voxels)
    assert not inputs[:, :, ~mask].any()


def test_inputs_do_not_depend_on_blocks_and_padding(whitened):
    gain, positions = whitened
    data = np.random.default_rng(0).standard_normal((len(gain), 2))
    bare, padded = (
        make_voxel_model(gain, positions, block_side=side, multiple=multiple)
        for side, multiple in ((1, 1), (2, 16))
    )
    assert np.prod(padded.grid.shape) > np.prod(bare.grid.shape)
    one, other = (model.inputs(data)[:, :, model.columns] for model in (bare, padded))
    np.testing.assert_allclose(other, one, atol=1e-4)


def test_inputs_do_not_depend_on_the_unit_of_the_gain(whitened):
    gain, positions = whitened
    data = np.random.default_rng(0).standard_normal((len(gain), 1))
    one, other = (make_voxel_model(c * gain, positions).inputs(data) for c in (1, 1e3))
    np.testing.assert_allclose(other, one, atol=2e-3)


def test_fixed_orientations_point_along_the_normals(whitened):
    gain, positions = whitened
    normals = np.random.default_rng(0).standard_normal(positions.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    positions = positions[:1].repeat(4, axis=0) + np.arange(4)[:, None] * [SPACING, 0, 0]
    fixed = np.einsum("mnk,nk->mn", gain.reshape(len(gain), -1, 3), normals)[:, :4]
    voxel_model = make_voxel_model(fixed, positions, normals[:4])
    inputs = voxel_model.inputs(np.random.default_rng(1).standard_normal((len(gain), 1)))
    got = inputs[0, :3, voxel_model.columns]
    got /= np.linalg.norm(got, axis=1, keepdims=True)
    order = np.argsort(voxel_model.grid.scatter[voxel_model.voxels].indices)
    np.testing.assert_allclose(np.abs(np.sum(got[order] * normals[:4], axis=1)), 1, atol=1e-5)


def test_silence_is_finite(whitened):
    gain, positions = whitened
    inputs = make_voxel_model(gain, positions).inputs(np.zeros((len(gain), 1)))
    assert np.isfinite(inputs).all()
    assert not inputs[:, : N_MOMENTS + N_PATCHES].any()
    assert not inputs[:, :N_MOMENTS].any()
