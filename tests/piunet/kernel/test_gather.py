"""Locations near a voxel share its moment: those that fit the data get most of it."""

import numpy as np
import pytest

from mne_piunet.kernel.gather import make_gather
from mne_piunet.kernel.grid import SPACING, make_grid
from mne_piunet.kernel.pursuit import make_pursuit

N_SENSORS = 40


def prepare(positions, n_orient=3, seed=0):
    """Gain of random sensors around the positions, the grid and the gather."""
    rng = np.random.default_rng(seed)
    sensors = rng.standard_normal((N_SENSORS, 3))
    sensors *= (0.03 + np.ptp(positions, axis=0).max()) / np.linalg.norm(sensors, axis=1)[:, None]
    apart = positions.mean(axis=0) + sensors[:, None] - positions
    field = apart / np.linalg.norm(apart, axis=2)[:, :, None] ** 3
    field = field[:, :, :n_orient] / np.sqrt(np.mean(field**2))
    gain = field.reshape(N_SENSORS, -1).astype(np.float32)
    grid = make_grid(positions)
    columns = gain.reshape(N_SENSORS, len(positions), -1).transpose(1, 2, 0)
    fields = (grid.scatter @ columns.reshape(len(positions), -1)).astype(np.float32)
    fields = fields.reshape(*grid.shape, -1, N_SENSORS)
    voxels = np.flatnonzero(grid.n_locations)
    pursuit = make_pursuit(fields, grid.n_locations, voxels, SPACING)
    return gain, grid, voxels, make_gather(gain, positions, grid, pursuit)


def lattice(pitch, n=5):
    return pitch * np.indices((n, n, n)).reshape(3, -1).T + [0.0013, 0.002, 0.04]


@pytest.mark.parametrize("n_orient", [1, 3])
@pytest.mark.parametrize("pitch", [0.003, 0.005, SPACING, 0.010, 0.020])
def test_voxels_give_away_all_they_have(pitch, n_orient):
    _, _, voxels, gather = prepare(lattice(pitch), n_orient)
    rng = np.random.default_rng(1)
    moments = rng.standard_normal((len(voxels), 2, 3))
    data = rng.standard_normal((N_SENSORS, 2)).astype(np.float32)
    shared = gather.run(moments, data)
    assert shared.shape == (125, 2, 3)
    np.testing.assert_allclose(shared.sum(axis=0), moments.sum(axis=0), rtol=1e-4, atol=1e-4)


def test_nothing_goes_far():
    """What a voxel has stays within 15 mm, or with the locations that it holds."""
    positions = lattice(0.005, 7)
    gain, grid, voxels, gather = prepare(positions)
    moments = np.zeros((len(voxels), 1, 3))
    moments[len(voxels) // 2] = 1
    shared = gather.run(moments, gain[:, [7]])[:, 0, 0]
    apart = np.linalg.norm(positions - grid.centers[voxels[len(voxels) // 2]], axis=1)
    assert not shared[apart > 0.0151].any()
    assert shared[apart < 0.01].sum() > 0.6


@pytest.mark.parametrize("n_orient", [1, 3])
@pytest.mark.parametrize("pitch", [0.003, 0.005, 0.010])
def test_the_active_location_gets_most(pitch, n_orient):
    """Even if the voxels blur it: of the locations around, it alone explains the data."""
    positions = lattice(pitch)
    gain, grid, voxels, gather = prepare(positions, n_orient)
    for true in (31, 62, 88):
        data = gain[:, [true * n_orient]]
        apart = np.linalg.norm(grid.centers[voxels] - positions[true], axis=1)
        moments = np.exp(-(apart**2) / (2 * 0.01**2))[:, None, None] * np.ones(3)
        shared = np.linalg.norm(gather.run(moments, data)[:, 0], axis=1)
        assert shared.argmax() == true


def test_equal_fits_are_told_by_distance():
    """Without data that tell them apart, locations get more the nearer they are."""
    positions = lattice(0.004, 7)
    _, grid, voxels, gather = prepare(positions)
    moments = np.zeros((len(voxels), 1, 3))
    moments[len(voxels) // 2] = 1
    shared = gather.run(moments, np.zeros((N_SENSORS, 1), np.float32))[:, 0, 0]
    apart = np.linalg.norm(positions - grid.centers[voxels[len(voxels) // 2]], axis=1)
    weight = np.exp(-(apart**2) / (2 * 0.005**2))
    near = apart < 0.013
    np.testing.assert_allclose(shared[near] / shared.max(), weight[near] / weight.max(), atol=0.01)


def test_the_unit_of_the_data_does_not_matter():
    _, _, voxels, gather = prepare(lattice(0.005))
    rng = np.random.default_rng(2)
    moments = rng.standard_normal((len(voxels), 3, 3))
    data = rng.standard_normal((N_SENSORS, 3)).astype(np.float32)
    np.testing.assert_allclose(
        gather.run(moments, 1e3 * data), gather.run(moments, data), rtol=1e-2, atol=1e-5
    )
