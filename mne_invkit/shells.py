"""Closed head surfaces as radii around a point, and electrodes on them."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
from mne.utils import logger, verbose
from scipy.optimize import least_squares
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

SHIPPED = Path(mne.__file__).parent / "data" / "fsaverage"
"""Head of fsaverage that MNE ships: skin, inner skull, fiducials, transformation."""

_MAX_GAP = 0.025  # m, inner skull to skin; the shipped skin reaches into the neck
_MIN_GAP = 0.008  # m
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


def radii(origin: np.ndarray, directions: np.ndarray, rr: np.ndarray, tris: np.ndarray):
    """Distance from `origin` to the outermost crossing of a surface along each unit direction.

    With the corners a, b, c of a triangle, seen from the origin, a direction is the sum
    ``u a + v b + w c``. It crosses the triangle where no weight is negative, at the distance
    ``1 / (u + v + w)``. Every ray is tested against every triangle:
    O(n_directions x n_triangles).
    """
    a, b, c = (rr[tris[:, k]] - origin for k in range(3))
    dual = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
    volume = np.sum(a * dual[0], axis=1)
    volume[volume == 0] = np.nan  # seen edge-on
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

    The three share the directions of one icosphere around the centroid of the inner skull.
    The skull is the inner half of the gap between brain and skin, and the gap is bounded,
    which cuts the neck and the jaw off the shipped skin.
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


def on_surface(origin, directions, surface) -> np.ndarray:
    """Points where rays from `origin` leave a surface, shape (n, 3)."""
    r = radii(origin, directions, surface["rr"], surface["tris"])
    return origin + r[:, None] * directions


def coregister_electrodes(
    positions: np.ndarray, bem: mne.bem.ConductorModel, trans: mne.transforms.Transform
) -> np.ndarray:
    """Move digitized electrodes as one rigid body until they fit the skin of a head.

    Parameters
    ----------
    positions : ndarray, shape (n, 3)
        Positions in m, already about right in the head frame (x to the right, y to the
        front, z up, origin between the ears).
    bem : mne.bem.ConductorModel
        Head model whose outermost surface is the skin.
    trans : mne.transforms.Transform
        Head to MRI transformation.

    Returns
    -------
    positions : ndarray, shape (n, 3)
        The moved positions; least squares of the distances to the skin, with a weak pull to
        where they were.
    """
    skin, origin = bem["surfs"][0], bem["surfs"][-1]["rr"].mean(axis=0)
    pull = 0.003 * np.sqrt(len(positions))  # m for each radian and for each 100 mm

    def move(motion):
        return Rotation.from_rotvec(motion[:3]).apply(positions) + motion[3:] / 10

    def misfit(motion):
        rays = mne.transforms.apply_trans(trans, move(motion)) - origin
        distance = np.linalg.norm(rays, axis=1)
        skin_distance = radii(origin, rays / distance[:, None], skin["rr"], skin["tris"])
        return np.concatenate([distance - skin_distance, pull * motion])

    motion = least_squares(misfit, np.zeros(6), diff_step=1e-4, x_scale=0.1).x
    rms = 1e3 * np.sqrt(np.mean(misfit(motion)[:-6] ** 2))
    logger.info("Electrodes fit the skin to %.1f mm (root mean square).", rms)
    return move(motion)


@verbose
def place_electrodes(
    info: mne.Info, bem: mne.bem.ConductorModel, trans: mne.transforms.Transform, *, verbose=None
) -> mne.Info:
    """Move the electrodes radially onto the skin of a head.

    Parameters
    ----------
    info : mne.Info
        Measurement info with electrode positions in the head frame.
    bem : mne.bem.ConductorModel
        Head model whose outermost surface is the skin.
    trans : mne.transforms.Transform
        Head to MRI transformation.
    %(verbose)s

    Returns
    -------
    info : mne.Info
        A copy with the moved electrodes. None lies within 0.1 mm of a vertex of the skin,
        where the gain of MNE is not a number.
    """
    info = info.copy()
    picks = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    if not len(picks):
        return info
    old = np.array([info["chs"][k]["loc"][:3] for k in picks])
    bad = ~np.isfinite(old).all(axis=1) | (np.abs(old).max(axis=1) == 0)
    if bad.any():
        names = [info["ch_names"][k] for k in picks[bad]]
        raise ValueError(
            f"{len(names)} EEG channels have no position ({', '.join(names[:5])}...): call "
            'inst.set_montage("standard_1005") with the montage of your cap first, or drop '
            "these channels with inst.drop_channels."
        )
    skin = bem["surfs"][0]  # the outermost comes first
    origin = bem["surfs"][-1]["rr"].mean(axis=0)
    directions = mne.transforms.apply_trans(trans, old) - origin
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    new = on_surface(origin, directions, skin)
    near = np.linalg.norm(new[:, None] - skin["rr"], axis=2).min(axis=1) < 1e-4
    if near.any():
        aside = np.cross(directions[near], np.roll(directions[near], 1, axis=1))
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        nudged = directions[near] + 5e-3 * aside  # about half a millimetre on the skin
        new[near] = on_surface(origin, nudged / np.linalg.norm(nudged, axis=1, keepdims=True), skin)
    new = mne.transforms.apply_trans(mne.transforms.invert_transform(trans), new)
    moved = 1e3 * np.linalg.norm(new - old, axis=1)
    message = (
        f"Moved {len(picks)} electrodes onto the template's skin: median {np.median(moved):.1f} mm"
        f", at most {moved.max():.1f} mm."
    )
    if np.median(moved) > 30:
        mne.utils.warn(f"{message} Check the units and the frame of the montage.")
    else:
        logger.info(message)
    for k, loc in zip(picks, new, strict=True):
        info["chs"][k]["loc"][:3] = loc
    return info
