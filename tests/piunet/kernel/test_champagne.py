"""Sparse Bayesian learning of patches: its formulas, its cost, and what its maps show."""

from itertools import islice

import numpy as np
import pytest

from mne_piunet.kernel.champagne import _MISFIT, SWEEPS
from mne_piunet.kernel.grid import SPACING
from mne_piunet.kernel.inputs import make_voxel_model

N_SENSORS = 40
POSITIONS = SPACING * np.indices((8, 9, 7)).reshape(3, -1).T


def make_gain(n_orient, seed=0):
    """Gain of sensors around the positions that falls with distance."""
    rng = np.random.default_rng(seed)
    sensors = rng.standard_normal((N_SENSORS, 3))
    sensors *= 0.06 / np.linalg.norm(sensors, axis=1)[:, None]
    apart = POSITIONS.mean(axis=0) + sensors[:, None] - POSITIONS
    field = apart / np.linalg.norm(apart, axis=2)[:, :, None] ** 3
    return field[:, :, -n_orient:].reshape(N_SENSORS, -1).astype(np.float32)


@pytest.fixture(scope="module", params=[1, 3])
def prepared(request):
    """Gain of fixed or free orientations, and the voxel model of it."""
    gain = make_gain(request.param)
    normals = np.tile([0.0, 0.0, 1.0], (len(POSITIONS), 1)) if request.param == 1 else None
    return gain, make_voxel_model(gain, POSITIONS, normals, multiple=4)


def recording(gain, centers, extent=0.02, noise=0.01, seed=1):
    """Data of a patch around each center."""
    rng = np.random.default_rng(seed)
    moments = np.zeros((len(POSITIONS), gain.shape[1] // len(POSITIONS)))
    for center in centers:
        apart = np.linalg.norm(POSITIONS - POSITIONS[center], axis=1)
        direction = rng.standard_normal(moments.shape[1])
        profile = np.exp(-(apart**2) / (2 * extent**2))
        moments += profile[:, None] * direction / np.linalg.norm(direction)
    data = gain @ moments.ravel()
    data += noise * np.sqrt(np.mean(data**2)) * rng.standard_normal(N_SENSORS)
    return data[:, None].astype(np.float32)


def test_sweeps_are_the_formula(prepared):
    """As dense matrices of double precision have it."""
    gain, voxel_model = prepared
    learner = voxel_model.sparse
    data = recording(gain, [50, 400])
    power = learner.prior.astype(float) * np.sum((learner.basis @ data) ** 2)
    fields, seen = learner.fields.astype(float), (learner.basis @ data)[:, 0].astype(float)
    noise = 0.5 + _MISFIT * np.mean(seen**2)
    for found, strength in islice(learner.sweeps(data, 0.5), 4):
        np.testing.assert_allclose(found[:, 0], power, rtol=1e-2, atol=1e-4 * power.max())
        covariance = noise * np.eye(len(seen)) + np.einsum("j,joa,job->ab", power, fields, fields)
        precision = np.linalg.inv(covariance)
        product = np.linalg.norm(fields @ (precision @ seen), axis=1)
        wanted = power * product
        np.testing.assert_allclose(strength[:, 0], wanted, rtol=1e-2, atol=1e-3 * wanted.max())
        power *= product / np.sqrt(np.einsum("joa,ab,job->j", fields, precision, fields))


def test_cost_never_rises(prepared):
    gain, voxel_model = prepared
    learner = voxel_model.sparse
    data = recording(gain, [20, 250, 480])
    seen = (learner.basis @ data)[:, 0].astype(float)
    fields = learner.fields.astype(float)
    noise = 1.0 + _MISFIT * np.mean(seen**2)
    costs = []
    for power, _ in islice(learner.sweeps(data), 30):
        covariance = np.einsum("j,joa,job->ab", power[:, 0].astype(float), fields, fields)
        covariance += noise * np.eye(len(seen))
        costs.append(seen @ np.linalg.solve(covariance, seen) + np.linalg.slogdet(covariance)[1])
    assert (np.diff(costs) < 1e-4).all()
    assert costs[0] - costs[-1] > 1


def test_maps_hold_what_the_patches_have(prepared):
    gain, voxel_model = prepared
    learner = voxel_model.sparse
    data = recording(gain, [100])
    maps = learner.run(data)
    assert maps.shape == (len(SWEEPS), len(voxel_model.voxels), 1)
    assert (maps >= 0).all()
    strengths = [s for _, s in islice(learner.sweeps(data), max(SWEEPS))]
    for k, sweep in enumerate(SWEEPS):
        assert maps[k].sum() == pytest.approx(strengths[sweep - 1].sum(), rel=1e-4)
    assert (np.diff([(m / m.sum()).max() for m in maps]) > 0).all()  # sharper and sharper


def test_a_patch_of_the_dictionary_has_its_field(prepared):
    """The field of a patch is that of its map, where moments have the same direction."""
    gain, voxel_model = prepared
    learner = voxel_model.sparse
    for patch in (0, len(learner.fields) // 2, -1):
        share = np.zeros(len(POSITIONS))
        share[voxel_model.grid.scatter[voxel_model.voxels].argmax(axis=1)] = learner.spread[
            :, patch
        ]
        columns = gain.reshape(N_SENSORS, len(POSITIONS), -1)
        wanted = learner.basis @ np.einsum("mno,n->mo", columns, share)
        field = learner.fields[patch].T
        np.testing.assert_allclose(field, wanted, rtol=0.02, atol=1e-3 * wanted.max())


def test_patches_are_found_together(prepared):
    """Most strength lies around two patches, some around each, more than after few sweeps."""
    gain, voxel_model = prepared
    data = recording(gain, [8, len(POSITIONS) - 9], extent=0.01)
    first, *_, last = voxel_model.sparse.run(data, 1e-4 * np.mean(data**2))[:, :, 0]
    places = voxel_model.grid.centers[voxel_model.voxels]
    around = np.linalg.norm(places[:, None] - POSITIONS[[8, -9]], axis=2) < 0.025
    near = around.any(axis=1)
    assert last[near].sum() / last.sum() > 0.7
    assert last[near].sum() / last.sum() > first[near].sum() / first.sum()
    assert (last @ around > 0.2 * last.sum()).all()


def test_each_sample_is_learned_by_itself(prepared):
    gain, voxel_model = prepared
    data = np.concatenate([recording(gain, [k], seed=k) for k in (30, 200, 450)], axis=1)
    noise = np.array([0.1, 1.0, 10.0])
    together = voxel_model.sparse.run(data, noise)
    for k in range(3):
        alone = voxel_model.sparse.run(data[:, [k]], noise[k])[:, :, 0]
        np.testing.assert_allclose(together[:, :, k], alone, rtol=1e-2, atol=1e-3 * alone.max())


def test_scale_of_data_and_noise_is_the_scale_of_the_maps(prepared):
    gain, voxel_model = prepared
    data = recording(gain, [321])
    maps = voxel_model.sparse.run(data, 0.1)
    larger = voxel_model.sparse.run(10 * data, 10.0)
    np.testing.assert_allclose(larger, 10 * maps, rtol=1e-2, atol=1e-3 * larger.max())


def test_silence_has_no_patches(prepared):
    _, voxel_model = prepared
    maps = voxel_model.sparse.run(np.zeros((N_SENSORS, 2), np.float32))
    assert np.isfinite(maps).all()
    assert not maps.any()
