"""Shapes of random heads, with the source spaces and sensors that fit them."""

import numpy as np
import pytest

from mne_invkit.heads.template import template_fiducials, template_source_space
from mne_invkit.population.sensors import draw_coils, draw_electrodes, misplace
from mne_invkit.population.shape import (
    SCALP,
    SIZE,
    SKULL,
    draw_anatomy,
    draw_conductivity,
    draw_grid,
    perturb_anatomy,
    smooth_field,
    warp_cortex,
)


def draw(seed=0):
    """Draw a head and one that is almost the same."""
    rng = np.random.default_rng(seed)
    head = draw_anatomy(rng)
    return head, perturb_anatomy(head, rng)


# %% Shapes


def test_shells_are_nested_and_of_plausible_thickness():
    for seed in range(15):
        own, other = draw(seed)
        assert own.scalp[own.up > -0.2].max() <= SCALP[1]
        assert other.scalp[other.up > -0.2].max() <= 1.9 * SCALP[1]
        for head in (own, other):
            corners = head.directions[head.tris]
            assert np.linalg.det(corners).min() > 0  # seen from the origin, no triangle folds over
            assert head.inner.min() > 0.02
            assert SKULL[0] <= head.skull.min() < head.skull.max() <= SKULL[1]
            assert head.scalp.min() >= SCALP[0]
            rr = [shell["rr"] - head.origin for shell in head.shells.values()]
            inner, outer, skin = (np.linalg.norm(r, axis=1) for r in rr)
            np.testing.assert_allclose(outer - inner, head.skull)
            np.testing.assert_allclose(skin - outer, head.scalp)


def test_sizes_span_newborns_to_large_adults():
    heads = [draw_anatomy(np.random.default_rng(seed)) for seed in range(200)]
    tops = [head.shells["outer_skin"]["rr"][head.up > -0.3] for head in heads]
    breadth, length, _ = np.ptp(tops, axis=1).T
    assert 0.09 < breadth.min() < 0.125 < 0.16 < breadth.max() < 0.21
    assert 0.115 < length.min() < 0.15 < 0.2 < length.max() < 0.24
    assert 0.7 < np.median(breadth / length) < 0.9
    size = np.array([head.size for head in heads])
    assert SIZE[0] <= size.min() < 0.66
    assert 0.98 < size.max() <= SIZE[1]
    assert 0.8 < np.median(size) < 0.98


def test_head_frame_is_that_of_the_fiducials():
    for seed in range(10):
        head = draw_anatomy(np.random.default_rng(seed))
        left, nasion, right = head.on_skin(head.warp(template_fiducials()))
        assert np.abs([*left[1:], *right[1:], nasion[0], nasion[2]]).max() < 0.01
        assert left[0] < -0.035 < 0.035 < right[0]
        assert nasion[1] > 0.05
        assert head.origin[2] > 0.02


def test_perturbed_head_differs_by_a_few_millimetres():
    for seed in range(10):
        head, other = draw(seed)
        for name in ("inner", "skull", "scalp"):
            change = getattr(other, name) - getattr(head, name)
            assert 2e-4 < np.sqrt(np.mean(change**2)) < 4e-3
        assert np.abs(other.inner - head.inner).max() < 0.0041
        np.testing.assert_array_equal(other.directions, head.directions)


def test_smooth_field_has_the_covariance_of_its_scale():
    rng, lag = np.random.default_rng(0), np.array([[0.0, 0, 0], [0.02, 0, 0], [0.04, 0, 0]])
    values = np.array([smooth_field(rng, 0.04)(lag) for _ in range(4000)])
    covariance = values.T @ values / len(values)
    np.testing.assert_allclose(np.diag(covariance), 1, atol=0.1)
    np.testing.assert_allclose(covariance[0, 1:], np.exp([-1 / 8, -1 / 2]), atol=0.1)
    assert smooth_field(rng, 0.04, 3)(lag).shape == (3, 3)


def test_conductivities_in_range():
    brain, skull, scalp = np.transpose(
        [draw_conductivity(np.random.default_rng(k)) for k in range(300)]
    )
    assert 0.25 <= brain.min() < 0.26 < 0.39 < brain.max() <= 0.4
    assert 0.2 <= scalp.min() < 0.21 < 0.49 < scalp.max() <= 0.5
    ratio = brain / skull
    assert 15 <= ratio.min() < 16 < 75 < ratio.max() <= 80
    assert np.median(ratio) == pytest.approx(np.sqrt(15 * 80), rel=0.15)


# %% Source spaces


def test_grid_is_regular_inside_both_heads_and_full():
    head, other = draw(3)
    rr = draw_grid([head, other], np.random.default_rng(0))
    steps = (rr - rr[0]) / 0.007
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert head.depth(rr).min() >= 0.004
    assert other.depth(rr).min() >= 0.003
    corners = head.shells["inner_skull"]["rr"][head.tris] - head.origin
    volume = np.linalg.det(corners).sum() / 6
    assert 0.6 < len(rr) * 0.007**3 / volume < 0.95


def test_origin_of_the_grid_is_random():
    firsts = [draw_grid(draw(3), np.random.default_rng(k), spacing=0.02)[0] for k in range(2)]
    offset = (firsts[0] - firsts[1]) / 0.02
    assert np.abs(offset - np.round(offset)).max() > 0.01


def test_cortex_keeps_its_shape_inside_both_heads():
    head, other = draw(4)
    src = template_source_space(spacing="ico3", verbose=False)
    rr, normals = warp_cortex(src, [head, other])
    before = np.concatenate([s["rr"][s["vertno"]] for s in src])
    nn = np.concatenate([s["nn"][s["vertno"]] for s in src])
    assert head.depth(rr).min() >= 0.004
    assert other.depth(rr).min() >= 0.003
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert np.median(np.sum(normals * nn, axis=1)) > 0.9
    left = before[:, 0] < -0.02
    assert rr[left, 0].max() < rr[before[:, 0] > 0.02, 0].min()
    scale = np.linalg.norm(rr - rr.mean(axis=0)) / np.linalg.norm(before - before.mean(axis=0))
    assert scale == pytest.approx(head.size, rel=0.1)


def test_cortex_is_pushed_inside():
    head, other = draw(4)
    src = template_source_space(spacing="ico3", verbose=False)
    for s in src:
        s["rr"] = s["rr"] * 1.15
    rr, _ = warp_cortex(src, [head, other])
    assert head.depth(rr).min() >= 0.004
    assert other.depth(rr).min() >= 0.003


# %% Sensors


def test_electrodes_lie_on_the_skin():
    head, other = draw(5)
    sensors = draw_electrodes(head, np.random.default_rng(0))
    assert 256 < len(sensors.names) == len(set(sensors.names)) < 360
    assert {"Fp1", "Cz", "O2", "AF3", "T7", "E1", "E256"} <= set(sensors.names)
    np.testing.assert_allclose(head.gap(sensors.positions), 0, atol=1e-9)
    where = dict(zip(sensors.names, sensors.positions, strict=True))
    assert where["Fp1"][1] > 0.04 > -0.04 > where["O2"][1]
    assert where["T7"][0] < -0.04 < 0.04 < where["T8"][0]
    assert where["Cz"][2] == pytest.approx(sensors.positions[:, 2].max(), abs=0.02)
    moved = misplace(sensors, other, np.random.default_rng(0))
    np.testing.assert_allclose(other.gap(moved.positions), 0, atol=1e-9)
    assert 0.001 < np.median(np.linalg.norm(moved.positions - sensors.positions, axis=1)) < 0.008


def test_helmets_surround_the_head():
    for seed in (0, 1, 6, 9, 11):  # all three helmets, heads of many sizes
        head, other = draw(seed)
        coils = draw_coils(head, np.random.default_rng(seed))
        gap = head.gap(coils.positions)
        assert 0.0029 < gap.min() < 0.011
        assert np.median(gap) < 0.05
        assert coils.positions[:, 2].max() > head.shells["outer_skin"]["rr"][:, 2].max() - 0.01
        identity = np.broadcast_to(np.eye(3), coils.axes.shape)
        np.testing.assert_allclose(coils.axes @ coils.axes.transpose(0, 2, 1), identity, atol=1e-6)
        outward = np.sum(coils.axes[:, 2] * (coils.positions - head.origin), axis=1)
        assert np.mean(outward > 0) > 0.99
        kinds, counts = np.unique(coils.kinds, return_counts=True)
        assert kinds.tolist() in (["mag"], ["grad", "mag"])
        assert (counts.tolist() == [204, 102]) == (len(counts) == 2)
        moved = misplace(coils, other, np.random.default_rng(0))
        assert other.gap(moved.positions).min() > 0.00099
        assert np.linalg.norm(moved.positions - coils.positions, axis=1).max() < 0.02
