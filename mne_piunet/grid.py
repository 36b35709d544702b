"""Source points of any kind to voxels of a regular grid, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

SPACING = 0.007
"""Side of a voxel in m."""

_REACH = 0.9  # of the distance between sources, within which a voxel belongs to the nearest
_MAX_PITCH = 0.02  # m; sources further apart are alone


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid around sources.

    Attributes
    ----------
    shape : tuple of int
        Voxels along x, y and z of the head frame.
    scatter : scipy.sparse.csr_array, shape (n_voxels, n_sources)
        Moments of sources to moments of voxels; a source gives away all it has.
    centers : ndarray, shape (n_voxels, 3)
        Positions of the voxels (m).
    n_sources : ndarray, shape (n_voxels,)
        Sources in each voxel; a share of one where a source fills several voxels.
    """

    shape: tuple[int, int, int]
    scatter: csr_array
    centers: np.ndarray
    n_sources: np.ndarray


def make_grid(positions: np.ndarray, *, multiple: int = 1) -> Grid:
    """Lay a grid around sources.

    Sources denser than the grid share voxels. Sources further apart than the grid, such as
    those of a 10 or 20 mm volume, each fill the voxels nearest to them.

    Parameters
    ----------
    positions : ndarray, shape (n_sources, 3)
        Positions in m, in the head frame.
    multiple : int
        Round the grid's shape up to multiples of this.

    Returns
    -------
    grid : Grid
        The grid.
    """
    tree = cKDTree(positions)
    pitch = SPACING
    if len(positions) > 1:
        pitch = min(np.median(tree.query(positions, k=2)[0][:, 1]), _MAX_PITCH)
    coarse = pitch > 1.2 * SPACING
    margin = pitch / 2 if coarse else 0.0
    low = positions.min(axis=0) - margin
    shape = np.floor((positions.max(axis=0) + margin - low) / SPACING + 0.5).astype(int) + 1
    shape = tuple(int(n) for n in -(-shape // multiple) * multiple)
    voxel = np.ravel_multi_index(np.floor((positions - low) / SPACING + 0.5).astype(int).T, shape)
    source = np.arange(len(positions))
    centers = low + SPACING * np.indices(shape).reshape(3, -1).T
    if coarse:
        distance, nearest = tree.query(centers)
        near = distance < _REACH * pitch
        near[voxel] = False  # these have their sources
        voxel = np.concatenate([voxel, np.flatnonzero(near)])
        source = np.concatenate([source, nearest[near]])
    parts = 1 / np.bincount(source, minlength=len(positions))[source]
    scatter = csr_array((parts, (voxel, source)), shape=(len(centers), len(positions)))
    return Grid(shape, scatter, centers, scatter.sum(axis=1))
