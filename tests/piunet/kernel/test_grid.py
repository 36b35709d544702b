"""The voxel grid gives back what it takes; blocks are the part of it that holds locations."""

import numpy as np
import pytest

from mne_piunet.kernel.grid import SPACING, make_blocks, make_grid


@pytest.mark.parametrize("pitch", [0.003, 0.005, SPACING, 0.010, 0.020])
def test_voxels_hold_all_that_locations_have(pitch):
    axis = pitch * np.arange(-4, 5)
    points = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    points = points[np.linalg.norm(points, axis=1) < 4.1 * pitch] + [0.0013, 0.002, 0.04]
    grid = make_grid(points, multiple=4)
    assert all(n % 4 == 0 for n in grid.shape)
    moments = np.random.default_rng(0).standard_normal((len(points), 3))
    np.testing.assert_allclose((grid.scatter @ moments).sum(axis=0), moments.sum(axis=0))
    if pitch >= SPACING:  # every location has voxels of its own
        held = np.count_nonzero(grid.n_locations) / (len(points) * (pitch / SPACING) ** 3)
        assert held == pytest.approx(1, abs=0.35)  # and they fill the space between them


def test_grid_keeps_places(whitened):
    _, positions = whitened
    grid = make_grid(positions)
    voxel = grid.scatter.tocsc().indices[grid.scatter.tocsc().indptr[:-1]]
    assert np.abs(positions - grid.centers[voxel]).max() < 0.501 * SPACING
    index = np.stack(np.unravel_index(voxel, grid.shape), axis=1)
    offset = grid.centers[voxel] - SPACING * index
    np.testing.assert_allclose(offset, offset[:1].repeat(len(offset), axis=0))


def test_one_location_makes_one_voxel():
    grid = make_grid(np.array([[0.01, 0.02, 0.05]]))
    assert grid.shape == (1, 1, 1)
    assert grid.scatter.toarray() == 1


def test_blocks_are_those_that_hold_locations():
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
