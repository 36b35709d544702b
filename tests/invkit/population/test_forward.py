"""Gains of random heads: those of spheres, plausible, and MNE's to use."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.surfaces import icosphere
from mne_invkit.population.forward import compute_gain, head_forward
from mne_invkit.population.montages import farthest_points
from mne_invkit.population.sensors import Sensors, draw_coils
from mne_invkit.population.shape import Anatomy


def angle_error(a, b):
    """Difference between the directions of the columns of two matrices."""
    a, b = (x / np.linalg.norm(x, axis=0) for x in (a, b))
    return np.linalg.norm(a - b, axis=0)


def average_reference(gain):
    return gain - gain.mean(axis=0)


# %% Spheres


@pytest.fixture(scope="module")
def ball():
    """Concentric spheres of 80, 86 and 92 mm."""
    directions, tris = icosphere(3)
    ones = np.ones(len(directions))
    return Anatomy(
        size=1.0, origin=np.array([0.01, -0.005, 0.04]), directions=directions, tris=tris,
        inner=0.08 * ones, skull=0.006 * ones, scalp=0.006 * ones, up=directions[:, 2], warp=None,
    )  # fmt: skip


def test_depth_in_a_sphere(ball):
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (400, 3)) + ball.origin
    expected = ball.inner[0] - np.linalg.norm(points - ball.origin, axis=1)
    np.testing.assert_allclose(ball.depth(points), expected, atol=1.5e-3)
    assert (np.sign(ball.depth(points)) == np.sign(expected))[np.abs(expected) > 1e-3].all()


def test_gain_is_that_of_spheres(ball):
    rng = np.random.default_rng(0)
    coils = draw_coils(ball, np.random.default_rng(1))
    assert set(coils.kinds) == {"mag", "grad"}
    rays = rng.standard_normal((60, 3)) * [1, 1, 0.3] + [0, 0, 0.5]
    names = np.array([f"E{k}" for k in range(len(rays))])
    kinds = np.full(len(rays), "eeg")
    rr = ball.on_skin(ball.origin + rays)
    sensors = Sensors(names, kinds, rr, np.zeros((len(rays), 3, 3))) + coils
    directions = rng.standard_normal((40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    positions = ball.origin + 0.06 * directions
    gain = compute_gain(ball, (0.3, 0.01, 0.4), sensors, positions)
    assert gain.dtype == np.float32

    model = mne.make_sphere_model(
        ball.origin, 0.092, sigmas=(0.3, 0.01, 0.4), relative_radii=(80 / 92, 86 / 92, 1),
        verbose=False,
    )  # fmt: skip
    src = mne.setup_volume_source_space(pos=dict(rr=positions, nn=directions), verbose=False)
    forward = mne.make_forward_solution(sensors.to_info(), None, src, model, verbose=False)
    forward = mne.pick_channels_forward(
        forward, sensors.names.tolist(), ordered=True, verbose=False
    )
    expected = forward["sol"]["data"]
    eeg = sensors.kinds == "eeg"
    found, true = average_reference(gain[eeg]), average_reference(expected[eeg])
    assert np.median(angle_error(found, true)) < 0.05
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=0), np.linalg.norm(true, axis=0), rtol=0.15
    )
    for kind in ("mag", "grad"):
        found, true = gain[sensors.kinds == kind], expected[sensors.kinds == kind]
        assert np.linalg.norm(found - true) < 0.06 * np.linalg.norm(true)


# %% Random heads


def test_two_gains_are_alike_but_not_equal(head):
    for kind in set(head.kinds):
        gain, other = (g[head.kinds == kind] for g in (head.gain, head.data_gain))
        if kind == "eeg":
            gain, other = average_reference(gain), average_reference(other)
        error = angle_error(gain, other)
        assert error.min() > 0
        assert 0.01 < np.median(error) < np.sqrt(2 * (1 - 0.8))  # a correlation of 0.8
        ratio = np.linalg.norm(other, axis=0) / np.linalg.norm(gain, axis=0)
        assert 0.3 < np.median(ratio) < 3


def test_gains_have_plausible_magnitudes(meeg_head):
    typical = {
        str(kind): np.median(np.abs(meeg_head.gain[meeg_head.kinds == kind]).max(axis=1))
        for kind in set(meeg_head.kinds)
    }
    assert 50 < typical["eeg"] < 3000  # V/(A m)
    assert 1e-7 < typical["mag"] < 1e-4  # T/(A m)
    assert 3 < typical["grad"] / typical["mag"] < 300  # 1/m


def test_nearest_electrodes_see_a_source_best(meeg_head):
    eeg = meeg_head.kinds == "eeg"
    distance = np.linalg.norm(meeg_head.positions[:, None] - meeg_head.sensors[eeg], axis=2)
    shallow = distance.min(axis=1) < 0.025
    gain = average_reference(meeg_head.gain[eeg]).reshape(eeg.sum(), -1, 3)
    norms = np.linalg.norm(gain, axis=2)
    best = distance[np.arange(len(distance)), norms.argmax(axis=0)]
    assert shallow.sum() > 10
    assert np.median((best - distance.min(axis=1))[shallow]) < 0.015


# %% Forward solutions


def test_forward_of_a_head(meeg_head):
    """Gains, channels and locations survive, in whatever order the channels come."""
    rows = np.random.default_rng(0).permutation(len(meeg_head.names))[:150]
    head = meeg_head.pick(rows)
    forward = head_forward(head)
    np.testing.assert_array_equal(forward["sol"]["data"], head.gain)
    np.testing.assert_array_equal(head_forward(head, data=True)["sol"]["data"], head.data_gain)
    info = forward["info"]
    assert info["ch_names"] == forward["sol"]["row_names"] == head.names.tolist()
    assert info.get_channel_types() == head.kinds.tolist()
    np.testing.assert_allclose([ch["loc"][:3] for ch in info["chs"]], head.sensors, atol=1e-7)
    np.testing.assert_allclose(forward["source_rr"], head.positions, atol=1e-7)

    fixed = mne.convert_forward_solution(
        forward, surf_ori=True, force_fixed=True, use_cps=False, verbose=False
    )
    normals = head.normals[:, :, None]
    along = (head.gain.reshape(len(rows), -1, 1, 3) @ normals)[:, :, 0, 0]
    np.testing.assert_allclose(fixed["sol"]["data"], along, atol=1e-5 * np.abs(along).max())


def test_mne_solves_on_the_forward_of_a_head(eeg_head):
    """Noise-free fields of single sources, whose locations eLORETA finds."""
    head = eeg_head.pick(farthest_points(eeg_head.sensors, 64, 0))
    forward, which = head_forward(head), np.array([50, 300, 600])
    info = Sensors(head.names, head.kinds, head.sensors, np.zeros((64, 3, 3))).to_info()
    evoked = mne.EvokedArray(1e-8 * head.gain[:, 3 * which], info, nave=1, verbose=False)
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    noise_cov = mne.make_ad_hoc_cov(info, std=dict(eeg=1e-8), verbose=False)
    inverse = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise_cov, loose=1.0, depth=None, verbose=False
    )
    stc = mne.minimum_norm.apply_inverse(evoked, inverse, 1e-4, "eLORETA", verbose=False)
    found = head.positions[stc.data.argmax(axis=0)]
    assert np.linalg.norm(found - head.positions[which], axis=1).max() < 0.01
