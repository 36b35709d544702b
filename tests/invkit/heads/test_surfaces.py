"""Surfaces of the head are closed and nested, and rays and spheres find them."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.surfaces import fit_sphere, icosphere, radii, template_shells


def random_directions(n, rng=0):
    directions = np.random.default_rng(rng).standard_normal((n, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def signed_areas(rr, tris):
    """Area of each triangle, negative if its normal points to the origin."""
    a, b, c = rr[tris].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a) / 2
    return np.linalg.norm(normal, axis=1) * np.sign(np.sum(normal * (a + b + c), axis=1))


@pytest.mark.parametrize(("n", "n_vertices"), [(0, 12), (1, 42), (2, 162), (3, 642)])
def test_icosphere(n, n_vertices):
    rr, tris = icosphere(n)
    assert (len(rr), len(tris)) == (n_vertices, 2 * n_vertices - 4)
    np.testing.assert_allclose(np.linalg.norm(rr, axis=1), 1)
    areas = signed_areas(rr, tris)
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(4 * np.pi, rel=0.35 / 4**n)


def test_radii_of_a_sphere_from_an_inner_point():
    rr, tris = icosphere(4)
    origin, directions = np.array([0.3, -0.2, 0.4]), random_directions(100)
    along = directions @ origin
    expected = -along + np.sqrt(along**2 + 1 - origin @ origin)
    found = radii(origin, directions, rr, tris)
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    to_vertices = rr - origin
    distances = np.linalg.norm(to_vertices, axis=1)
    found = radii(origin, to_vertices / distances[:, None], rr, tris)
    np.testing.assert_allclose(found, distances)


def test_radii_are_those_of_the_outermost_crossing():
    rr, tris = icosphere(1)
    rr, tris = np.concatenate([rr, 2 * rr]), np.concatenate([tris, tris + len(rr)])
    directions = random_directions(50)
    found = radii(np.zeros(3), directions, rr, tris)
    np.testing.assert_allclose(found, radii(np.zeros(3), directions, rr, tris[len(tris) // 2 :]))
    with pytest.raises(RuntimeError, match="No surface in the direction"):
        radii(np.array([3.0, 0, 0]), np.array([[1.0, 0, 0]]), rr, tris)


def test_shells_are_closed_and_nested():
    template = template_shells()
    assert list(template) == ["inner_skull", "outer_skull", "outer_skin"]
    origin = template["inner_skull"][0].mean(axis=0)
    for rr, tris in template.values():
        edges = np.sort(tris[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        np.testing.assert_array_equal(counts, 2)
        assert len(rr) - len(counts) + len(tris) == 2  # Euler: a sphere
        assert signed_areas(rr - origin, tris).min() > 0
    directions = random_directions(300)
    inner, outer, skin = (radii(origin, directions, *s) for s in template.values())
    assert 0.0035 < (outer - inner).min() < (outer - inner).max() < 0.013
    assert 0.0075 < (skin - inner).min() < (skin - inner).max() < 0.0255
    assert 0.06 < skin.min() < skin.max() < 0.15


def test_sphere_is_found_from_a_part_of_it():
    center, up = np.array([0.01, -0.02, 0.05]), random_directions(200)
    up = up[up[:, 2] > 0.2]
    found, radius = fit_sphere(center + 0.09 * up)
    np.testing.assert_allclose(found, center, atol=1e-12)
    assert radius == pytest.approx(0.09, rel=1e-12)


def test_sphere_is_that_of_mne_where_mne_takes_all_points():
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    points = np.array([ch["loc"][:3] for ch in info["chs"]])
    taken = points[(points[:, 2] >= 0) | (points[:, 1] <= 0)]  # none that are low and frontal
    radius, center, _ = mne.bem.fit_sphere_to_headshape(info, dig_kinds="eeg", verbose="error")
    found = fit_sphere(taken)
    np.testing.assert_allclose(found[0], center, atol=1e-7)
    assert found[1] == pytest.approx(radius, rel=1e-6)
