"""Surfaces of the head, described by their distance from a point inside."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
from scipy.spatial import ConvexHull

SHIPPED = Path(mne.__file__).parent / "data" / "fsaverage"
"""Head of fsaverage that MNE ships: skin, inner skull, fiducials, transformation."""

_MIN_GAP, _MAX_GAP = 0.008, 0.025  # m, inner skull to skin; the shipped skin includes the neck
_SKULL_SHARE = 0.5  # of the gap between inner skull and skin


def icosphere(n_subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit icosphere: vertices (n, 3) and outward triangles (m, 3)."""
    golden = (1 + np.sqrt(5)) / 2
    one = np.array([[0, s, t * golden] for s in (-1, 1) for t in (-1, 1)])
    rr = np.concatenate([np.roll(one, k, axis=1) for k in range(3)])
    for _ in range(n_subdivisions):
        tris = ConvexHull(rr).simplices
        edges = np.unique(np.sort(tris[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)), axis=0)
        rr = np.concatenate([rr, rr[edges].mean(axis=1)])
        rr /= np.linalg.norm(rr, axis=1, keepdims=True)
    rr = rr / np.linalg.norm(rr, axis=1, keepdims=True)
    tris = ConvexHull(rr).simplices
    inward = np.linalg.det(rr[tris]) < 0
    tris[inward] = tris[inward][:, ::-1]
    return rr, tris


def radii(
    origin: np.ndarray, directions: np.ndarray, rr: np.ndarray, tris: np.ndarray
) -> np.ndarray:
    """Distance from `origin` to the outermost crossing of a surface along each unit direction.

    Write a direction as ``u a + v b + w c``, with the corners a, b, c of a triangle as seen from
    the origin. The ray crosses the triangle if no weight is negative, at the distance
    ``1 / (u + v + w)``. Every ray is tested against every triangle:
    O(n_directions x n_triangles).
    """
    a, b, c = (rr[tris[:, k]] - origin for k in range(3))
    dual = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
    volume = np.sum(a * dual[0], axis=1)
    volume[volume == 0] = np.nan  # the triangle is seen edge-on
    dual /= volume[:, np.newaxis]
    out = []
    for direction in directions:
        weights = dual @ direction
        total = weights.sum(axis=0)
        hit = (total > 0) & (weights >= -1e-9 * total).all(axis=0)
        if not hit.any():
            raise RuntimeError(f"No surface in the direction {direction} of {origin}.")
        out.append(1 / total[hit].min())
    return np.array(out)


def template_shells() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Closed nested shells in the MRI frame (m): inner skull, outer skull, outer skin.

    The vertices of all three lie in the directions of one icosphere around the centroid of the
    inner skull. The skull fills the inner half of the gap between brain and skin. The gap is
    bounded, which cuts the neck and the jaw off the shipped skin.
    """
    inner = mne.read_bem_surfaces(SHIPPED / "fsaverage-inner_skull-bem.fif", verbose="error")[0]
    skin = mne.read_bem_surfaces(SHIPPED / "fsaverage-head.fif", verbose="error")[0]
    origin = inner["rr"].mean(axis=0)
    directions, tris = icosphere(3)
    r_inner = radii(origin, directions, inner["rr"], inner["tris"])
    r_skin = radii(origin, directions, skin["rr"], skin["tris"])
    gap = np.clip(r_skin - r_inner, _MIN_GAP, _MAX_GAP)
    distances = dict(
        inner_skull=r_inner, outer_skull=r_inner + _SKULL_SHARE * gap, outer_skin=r_inner + gap
    )
    return {name: (origin + r[:, None] * directions, tris) for name, r in distances.items()}


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Center (3,) and radius of the sphere nearest to points (n, 3), by linear least squares.

    :func:`mne.bem.fit_sphere_to_headshape` takes digitized points of an Info only, leaves out
    those that are low and frontal, and warns about spheres unlike an adult's head.
    """
    system = np.column_stack([2 * points, np.ones(len(points))])  # |x|^2 = 2 x.c + r^2 - |c|^2
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    center = solution[:3]
    return center, float(np.sqrt(solution[3] + center @ center))


def on_surface(origin: np.ndarray, directions: np.ndarray, surface: dict) -> np.ndarray:
    """Points where rays from `origin` leave a surface, shape (n, 3)."""
    r = radii(origin, directions, surface["rr"], surface["tris"])
    return origin + r[:, None] * directions
