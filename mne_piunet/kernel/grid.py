"""Locations of any source space on a regular grid of voxels, and the blocks that hold some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

SPACING = 0.007
"""Side of a voxel in m."""

_REACH = 0.9  # of the distance between locations, within which a voxel belongs to the nearest
_MAX_PITCH = 0.02  # m; locations further apart get no voxels but their own


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """A regular grid around the locations of a source space.

    Attributes
    ----------
    shape : tuple of int
        Number of voxels along x, y and z of the head frame.
    scatter : scipy.sparse.csr_array, shape (n_voxels, n_locations)
        Maps moments of locations to moments of voxels. Its columns sum to 1.
    centers : ndarray, shape (n_voxels, 3)
        Positions of the voxels (m).
    n_locations : ndarray, shape (n_voxels,)
        Number of locations in each voxel. A location that fills k voxels counts 1 / k in each.
    """

    shape: tuple[int, int, int]
    scatter: csr_array
    centers: np.ndarray
    n_locations: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Blocks:
    """Cubes of voxels that hold locations. The network computes in these alone.

    Attributes
    ----------
    voxels : ndarray of int, shape (block_side**3, n_blocks)
        The voxels of each block, as indices into the flat grid.
    places : ndarray of int, shape (n_x, n_y, n_z)
        Index of the block at each place of the grid of blocks; ``n_blocks`` where there is none.
    """

    voxels: np.ndarray
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels of the grid along x, y and z."""
        block_side = round(len(self.voxels) ** (1 / 3))
        return tuple(block_side * n for n in self.places.shape)

    def columns(self, voxels: np.ndarray) -> np.ndarray:
        """Find voxels among those of all blocks.

        Parameters
        ----------
        voxels : ndarray of int, shape (n_voxels,)
            Voxels that hold locations, as indices into the flat grid.

        Returns
        -------
        columns : ndarray of int, shape (n_voxels,)
            Their indices into ``self.voxels.ravel()``.
        """
        order = np.argsort(self.voxels, axis=None)
        return order[np.searchsorted(self.voxels.ravel(), voxels, sorter=order)]

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Lay out the values of all blocks on the grid.

        Parameters
        ----------
        values : ndarray, shape (n_samples, n_channels, block_side**3 * n_blocks)
            One value for each of ``self.voxels.ravel()``.

        Returns
        -------
        values : ndarray, shape (n_samples, n_channels, *grid)
            The same values on the grid; zero where there is no block.
        """
        out = np.zeros((*values.shape[:2], np.prod(self.shape)), values.dtype)
        out[:, :, self.voxels.ravel()] = values
        return out.reshape(*values.shape[:2], *self.shape)


def make_blocks(inside: np.ndarray, block_side: int) -> Blocks:
    """Find the blocks that hold locations.

    Parameters
    ----------
    inside : ndarray of bool, shape grid
        Voxels that hold locations. Each side of the grid is a multiple of `block_side`.
    block_side : int
        Number of voxels along each side of a block.

    Returns
    -------
    blocks : Blocks
        The blocks.
    """
    shape = tuple(n // block_side for n in inside.shape)
    split = [part for n in shape for part in (n, block_side)]
    voxels = np.arange(inside.size).reshape(split).transpose(1, 3, 5, 0, 2, 4)
    voxels = voxels.reshape(block_side**3, -1)
    filled = inside.ravel()[voxels].any(axis=0)
    places = np.where(filled, np.cumsum(filled) - 1, filled.sum()).reshape(shape)
    return Blocks(voxels[:, filled], places)


def make_grid(positions: np.ndarray, *, multiple: int = 1) -> Grid:
    """Lay a grid around the locations of a source space.

    Locations that are denser than the grid share voxels. Locations that are further apart than
    its voxels, such as those of a 10 or 20 mm volume, each fill the voxels nearest to them.

    Parameters
    ----------
    positions : ndarray, shape (n_locations, 3)
        Positions in m, in the head frame.
    multiple : int
        Round each side of the grid up to a multiple of this.

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
    location = np.arange(len(positions))
    centers = low + SPACING * np.indices(shape).reshape(3, -1).T
    if coarse:
        distance, nearest = tree.query(centers)
        near = distance < _REACH * pitch
        near[voxel] = False  # these hold their own locations
        voxel = np.concatenate([voxel, np.flatnonzero(near)])
        location = np.concatenate([location, nearest[near]])
    parts = 1 / np.bincount(location, minlength=len(positions))[location]
    scatter = csr_array((parts, (voxel, location)), shape=(len(centers), len(positions)))
    return Grid(shape, scatter, centers, scatter.sum(axis=1))
