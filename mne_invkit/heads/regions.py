"""Regions of the template's brain: their names, and its cortex divided into them."""

from __future__ import annotations

from functools import cache

import numpy as np

MNI305_TO_MNI152 = np.array(  # FreeSurfer wiki, "CoordinateSystems", section 8
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""From MNI305 (mm), the template's frame, to MNI152 (mm), that of most atlases."""

ATLAS = "dosenbach"
"""Name of the annotation of the template's cortex."""

_DEEP = ("basal ganglia", "thalamus", "cerebellum")  # regions that no cortical source is in
_MIDLINE = 1.0  # mm; centers nearer to the midline belong to both hemispheres


@cache
def _regions() -> tuple[np.ndarray, np.ndarray]:
    """Names with their numbers, shape (n_regions,), and centers (mm, MNI305)."""
    from nilearn import datasets

    atlas = datasets.fetch_coords_dosenbach_2010()
    centers = np.array([[r["x"], r["y"], r["z"]] for _, r in atlas["rois"].iterrows()], float)
    to_mni305 = np.linalg.inv(MNI305_TO_MNI152)
    centers = centers @ to_mni305[:3, :3].T + to_mni305[:3, 3]
    return np.array([str(name) for name in atlas["labels"]]), centers


@cache
def _cortical(hemi: str) -> np.ndarray:
    """Indices of the regions of the cortex of a hemisphere."""
    names, centers = _regions()
    side = -1 if hemi == "lh" else 1
    on_side = side * centers[:, 0] > -_MIDLINE
    return np.array([k for k in np.flatnonzero(on_side) if not _is_deep(names[k])])


def _is_deep(name: str) -> bool:
    return any(word in name for word in _DEEP)


def region_name(position: np.ndarray, hemi: str | None = None) -> str:
    """Name the region nearest to a position in the template.

    Parameters
    ----------
    position : array-like, shape (3,)
        Position in mm, MRI frame of the template (MNI305).
    hemi : {"lh", "rh"} | None
        Hemisphere of a source on the cortex, whose region is one of the cortex of that
        hemisphere. None for a position anywhere in the brain.

    Returns
    -------
    name : str
        Side and name of the nearest region, with the distance to its center. The 160 regions
        are those of Dosenbach et al. (2010), which nilearn bundles.
    """
    names, centers = _regions()
    among = np.arange(len(names)) if hemi is None else _cortical(hemi)
    distances = np.linalg.norm(centers[among] - np.asarray(position, float), axis=1)
    nearest = int(distances.argmin())
    left = position[0] < 0 if hemi is None else hemi == "lh"
    name = names[among[nearest]].rstrip("0123456789 ")
    side = "left" if left else "right"
    return f"{side} {name} ({distances[nearest]:.0f} mm from its center)"


def divide_cortex(rr: np.ndarray, hemi: str) -> tuple[np.ndarray, list[str]]:
    """Divide the cortex of a hemisphere of the template into regions.

    Parameters
    ----------
    rr : ndarray, shape (n_vertices, 3)
        Vertices in mm, MRI frame of the template.
    hemi : {"lh", "rh"}
        The hemisphere.

    Returns
    -------
    regions : ndarray of int, shape (n_vertices,)
        For each vertex the region whose center is nearest.
    names : list of str
        Names of the regions, each with the number that the atlas gives it.
    """
    names, centers = _regions()
    among = _cortical(hemi)
    distances = np.linalg.norm(rr[:, np.newaxis] - centers[among], axis=2)
    return distances.argmin(axis=1), [str(name) for name in names[among]]
