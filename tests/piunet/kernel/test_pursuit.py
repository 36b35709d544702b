"""Matching pursuit: patches are found where they are, with their strength, one after the other."""

import numpy as np
import pytest

from mne_piunet.kernel.grid import SPACING, make_grid
from mne_piunet.kernel.pursuit import EXPONENTS, EXTENTS, N_STEPS, blur, make_pursuit

N_SENSORS = 40


@pytest.fixture(scope="module")
def places():
    """Positions on a grid, the grid, and indices of its voxels."""
    corners = SPACING * np.indices((8, 9, 7)).reshape(3, -1).T
    grid = make_grid(corners, multiple=4)
    return corners, grid, np.flatnonzero(grid.n_locations)


def smooth_gain(positions, n_orient, seed=0):
    """Gain of sensors around the positions that falls with distance."""
    rng = np.random.default_rng(seed)
    sensors = rng.standard_normal((N_SENSORS, 3))
    sensors = positions.mean(axis=0) + 0.06 * sensors / np.linalg.norm(sensors, axis=1)[:, None]
    apart = sensors[:, None] - positions
    field = apart / np.linalg.norm(apart, axis=2)[:, :, None] ** 3
    field /= np.linalg.norm(field) / np.sqrt(field.size)
    if n_orient == 1:
        field = field[:, :, 2:]
    return field.reshape(N_SENSORS, -1).astype(np.float32)


def prepare(places, n_orient):
    positions, grid, voxels = places
    gain = smooth_gain(positions, n_orient)
    columns = gain.reshape(N_SENSORS, len(positions), n_orient).transpose(1, 2, 0)
    fields = (grid.scatter @ columns.reshape(len(positions), -1)).reshape(
        *grid.shape, n_orient, N_SENSORS
    )
    return gain, make_pursuit(fields, grid.n_locations, voxels, SPACING)


def patch(positions, center, extent):
    if not extent:
        return (np.arange(len(positions)) == center).astype(float)
    return np.exp(-np.sum((positions - positions[center]) ** 2, axis=1) / (2 * extent**2))


@pytest.mark.parametrize("n_orient", [1, 3])
@pytest.mark.parametrize("extent", EXTENTS)
def test_a_patch_without_noise_is_found(places, extent, n_orient):
    """The first step explains all, and its map is strongest where the patch is."""
    positions = places[0]  # in the order of their voxels
    gain, pursuit = prepare(places, n_orient)
    direction = np.array([1.0]) if n_orient == 1 else np.array([0.5, -0.7, 0.3])
    for center in (100, 250, 333):
        profile = patch(positions, center, extent)
        moments = profile[:, None] * direction
        data = (gain @ moments.ravel())[:, None].astype(np.float32)
        maps, left = pursuit.run(data)
        assert maps.dtype == left.dtype == np.float32  # double takes twice as long
        assert left[0] < 0.02 * np.mean((pursuit.basis @ data) ** 2)
        sharp = maps[-1, 0, :, 0]
        found = positions[sharp.argmax()]
        assert np.linalg.norm(found - positions[center]) < 1.01 * SPACING + extent / 2
        strength = np.linalg.norm(moments, axis=1).sum()
        assert sharp.sum() == pytest.approx(strength, rel=0.15)


def test_each_step_leaves_less(places):
    _, pursuit = prepare(places, 3)
    data = np.random.default_rng(0).standard_normal((N_SENSORS, 5)).astype(np.float32)
    maps, left = pursuit.run(data)
    assert maps.shape == (len(EXPONENTS), N_STEPS, len(places[0]), 5)
    assert (maps >= 0).all()
    whole = np.mean((pursuit.basis @ data) ** 2, axis=0)
    assert (np.diff([whole, *left], axis=0) < 0).all()
    assert (left > 0).all()


def test_a_higher_exponent_makes_a_sharper_map(places):
    gain, pursuit = prepare(places, 3)
    rng = np.random.default_rng(2)
    data = gain[:, 300] + 0.1 * rng.standard_normal(N_SENSORS)
    soft, sharp = pursuit.run(data[:, None].astype(np.float32))[0][:, 0, :, 0]
    soft, sharp = soft / soft.sum(), sharp / sharp.sum()
    assert np.sum(sharp**2) > 2 * np.sum(soft**2)


def test_two_far_sources_are_found_in_two_steps(places):
    positions = places[0]
    gain, pursuit = prepare(places, 3)
    moments = np.zeros((len(positions), 3))
    first, second = 8, len(positions) - 9
    moments[first, 0], moments[second, 2] = 1.0, 0.8
    data = (gain @ moments.ravel())[:, None].astype(np.float32)
    maps, left = pursuit.run(data)
    found = positions[maps[-1, :2, :, 0].argmax(axis=1)]
    for true in (first, second):
        assert np.linalg.norm(found - positions[true], axis=1).min() < 2 * SPACING
    assert left[1] < 0.1 * np.mean((pursuit.basis @ data) ** 2)


def test_scale_of_the_data_is_the_scale_of_the_maps(places):
    _, pursuit = prepare(places, 3)
    data = np.random.default_rng(1).standard_normal((N_SENSORS, 2)).astype(np.float32)
    maps, left = pursuit.run(data)
    larger, more = pursuit.run(100 * data)
    np.testing.assert_allclose(more, 1e4 * left, rtol=1e-3)
    np.testing.assert_allclose(larger, 100 * maps, rtol=1e-2, atol=1e-3 * larger.max())


def test_blur_is_a_convolution():
    grids = np.zeros((7, 8, 9, 2), np.float32)
    grids[3, 4, 5, 1] = 2
    kernels = [np.exp(-(np.subtract.outer(np.arange(n), np.arange(n)) ** 2) / 8) for n in (7, 8, 9)]
    apart = np.indices((7, 8, 9)) - np.array([3, 4, 5])[:, None, None, None]
    expected = 2 * np.exp(-np.sum(apart**2, axis=0) / 8)
    blurred = blur(grids, kernels)
    np.testing.assert_allclose(blurred[..., 1], expected, rtol=1e-6)
    assert not blurred[..., 0].any()
