"""Source points of any kind to voxels of a regular grid, and the blocks of it that have some."""

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


@dataclass(frozen=True, eq=False)
class Blocks:
    """Cubes of voxels, those with sources: where the network computes.

    Attributes
    ----------
    voxels : ndarray of int, shape (side**3, n_blocks)
        Voxels of the grid in each block.
    places : ndarray of int, shape (n_x, n_y, n_z)
        Which block is at each place of the grid of blocks; ``n_blocks`` where there is none.
    """

    voxels: np.ndarray
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the grid along x, y and z."""
        side = round(len(self.voxels) ** (1 / 3))
        return tuple(side * n for n in self.places.shape)

    def columns(self, voxels: np.ndarray) -> np.ndarray:
        """Find voxels in ``voxels.ravel()``.

        Parameters
        ----------
        voxels : ndarray of int, shape (n_voxels,)
            Voxels of the grid with sources.

        Returns
        -------
        columns : ndarray of int, shape (n_voxels,)
            Their places in it.
        """
        order = np.argsort(self.voxels, axis=None)
        return order[np.searchsorted(self.voxels.ravel(), voxels, sorter=order)]

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Lay out the values of all blocks.

        Parameters
        ----------
        values : ndarray, shape (n_samples, n_channels, side**3 * n_blocks)
            Of ``voxels.ravel()``.

        Returns
        -------
        values : ndarray, shape (n_samples, n_channels, *grid)
            On the grid; zero where there is no block.
        """
        out = np.zeros((*values.shape[:2], np.prod(self.shape)), values.dtype)
        out[:, :, self.voxels.ravel()] = values
        return out.reshape(*values.shape[:2], *self.shape)


def make_blocks(inside: np.ndarray, side: int) -> Blocks:
    """Find the blocks with sources.

    Parameters
    ----------
    inside : ndarray of bool, shape grid
        Voxels with sources; the sides of the grid are multiples of `side`.
    side : int
        Voxels along each side of a block.

    Returns
    -------
    blocks : Blocks
        The blocks.
    """
    shape = tuple(n // side for n in inside.shape)
    split = [part for n in shape for part in (n, side)]
    voxels = np.arange(inside.size).reshape(split).transpose(1, 3, 5, 0, 2, 4)
    voxels = voxels.reshape(side**3, -1)
    filled = inside.ravel()[voxels].any(axis=0)
    places = np.where(filled, np.cumsum(filled) - 1, filled.sum()).reshape(shape)
    return Blocks(voxels[:, filled], places)


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
