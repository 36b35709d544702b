"""The inputs of the network: what physics alone finds, on a grid of voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from mne_piunet.kernel.champagne import SWEEPS, SparsePatches, make_sparse_patches
from mne_piunet.kernel.eloreta import LAMBDAS, eloreta
from mne_piunet.kernel.grid import SPACING, Blocks, Grid, make_blocks, make_grid
from mne_piunet.kernel.pursuit import EXPONENTS, N_STEPS, Pursuit, make_pursuit

N_MOMENTS = 3 * len(LAMBDAS)
"""Number of the first channels: x, y and z of eLORETA's estimate for each regularization."""
N_PATCHES = len(EXPONENTS) * (N_STEPS + 1) + len(SWEEPS)
"""Number of the channels after them. For each exponent, each patch of the pursuit and then their
sum; then the map of sparse Bayesian learning after each of its SWEEPS."""
MASK = N_MOMENTS + N_PATCHES + N_STEPS + 2
"""Channel that is 1 in voxels that hold locations. The channels before it are the power that each
step of the pursuit leaves, the power of the data, and the number of sensors."""
N_INPUTS = MASK + 3
"""Number of all channels. The last two are the density of locations and the norm of their gain."""
FLOOR = 1e-4
"""Strength, relative to the largest, that counts as none in the channels of patches."""

_LOUD = 30.0  # dB; power of the data over that of the noise that becomes an input of 1
_MANY = 100.0  # number of sensors that becomes an input of 0


@dataclass(frozen=True, eq=False, repr=False)
class VoxelModel:
    """A whitened gain on voxels, prepared to turn data into inputs of the network.

    Attributes
    ----------
    grid : Grid
        The voxels.
    voxels : ndarray of int, shape (n_voxels,)
        Voxels that hold locations, as indices into the flat grid.
    back : ndarray of float32, shape (n_voxels * 3, n_sensors)
        Maps the eigenvectors of the pseudo-inverse to moments of voxels.
    filters : ndarray of float32, shape (n_lambdas, n_sensors, n_sensors)
        Maps data to the eigenvectors, for each regularization.
    pursuit : Pursuit
        Finds patches that explain the data one after the other.
    sparse : SparsePatches
        Finds patches that explain the data together.
    blocks : Blocks
        The blocks in which the network computes.
    columns : ndarray of int, shape (n_voxels,)
        Indices of `voxels` among the voxels of all blocks.
    static : ndarray of float32, shape (4, block_side**3 * n_blocks)
        The channels that do not depend on the data: number of sensors, mask, density of
        locations, and norm of their gain.
    """

    grid: Grid
    voxels: np.ndarray
    back: np.ndarray
    filters: np.ndarray
    pursuit: Pursuit
    sparse: SparsePatches
    blocks: Blocks
    columns: np.ndarray
    static: np.ndarray

    def inputs(self, data: np.ndarray, *, noise_power: float | np.ndarray = 1.0) -> np.ndarray:
        """Compute the inputs of the network.

        Parameters
        ----------
        data : ndarray, shape (n_sensors, n_times)
            Whitened data.
        noise_power : float | ndarray, shape (n_times,)
            Power of the noise in the data.

        Returns
        -------
        inputs : ndarray of float32, shape (n_times, N_INPUTS, block_side**3 * n_blocks)
            Inputs for the voxels of all blocks. The largest moment is 1 for each
            regularization. Strengths of patches are logarithmic, from 0 (``FLOOR``) to 1.
        """
        data = np.asarray(data, np.float32)
        n_times = data.shape[1]
        out = np.zeros((n_times, N_INPUTS, self.static.shape[1]), np.float32)
        filtered = np.concatenate([matrix @ data for matrix in self.filters], axis=1)
        moments = (self.back @ filtered).reshape(-1, 3, len(self.filters), n_times)
        largest = np.sqrt(np.max(np.sum(moments**2, axis=1), axis=0))
        moments /= np.maximum(largest, np.finfo(np.float32).tiny)
        moments = moments.transpose(3, 2, 1, 0).reshape(n_times, N_MOMENTS, -1)
        out[:, :N_MOMENTS, self.columns] = moments
        maps, left = self.pursuit.run(data)
        maps = np.concatenate([maps, maps.sum(axis=1, keepdims=True)], axis=1)
        maps = maps.reshape(-1, *maps.shape[2:])
        maps = np.concatenate([maps, self.sparse.run(data, noise_power)])
        maps /= np.maximum(maps.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        maps = 1 - np.log(maps + np.float32(FLOOR)) / np.log(np.float32(FLOOR))  # log10 is slower
        after_patches = N_MOMENTS + N_PATCHES
        out[:, N_MOMENTS:after_patches, self.columns] = maps.transpose(2, 0, 1)
        power = np.concatenate([left, np.mean(data**2, axis=0, keepdims=True)]) / noise_power
        loudness = 10 * np.log10(np.maximum(power, 1e-3)) / _LOUD
        out[:, after_patches : MASK - 1] = loudness.T[:, :, None] * self.static[1]
        out[:, MASK - 1 :] = self.static
        return out


def make_voxel_model(
    gain: np.ndarray,
    positions: np.ndarray,
    normals: np.ndarray | None = None,
    *,
    block_side: int = 1,
    multiple: int = 1,
) -> VoxelModel:
    """Prepare a gain.

    Parameters
    ----------
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Whitened gain of full row rank. Without `normals` each location has three columns, along
        x, y and z of the head frame.
    positions : ndarray, shape (n_locations, 3)
        Positions of the locations in m, in the head frame.
    normals : ndarray, shape (n_locations, 3) | None
        Fixed orientations. Each location then has one column.
    block_side : int
        Number of voxels along each side of the network's blocks.
    multiple : int
        Each side of the grid is a multiple of this, which is a multiple of `block_side`.

    Returns
    -------
    voxel_model : VoxelModel
        The prepared gain.
    """
    gain = np.asarray(gain, np.float32)
    grid = make_grid(positions, multiple=multiple)
    voxels = np.flatnonzero(grid.n_locations)
    back, filters = _pseudo_inverses(gain, normals, grid.scatter[voxels])
    columns = gain.T.reshape(len(positions), -1)
    power = np.einsum("nk,nk->n", columns, columns)
    norm = np.sqrt(grid.scatter[voxels] @ power / grid.n_locations[voxels])
    blocks = make_blocks(grid.n_locations.reshape(grid.shape) > 0, block_side)
    inside = blocks.columns(voxels)
    static = np.zeros((4, blocks.voxels.size), np.float32)
    static[0, inside] = np.log10(len(gain) / _MANY)
    static[1, inside] = 1
    static[2, inside] = np.minimum(grid.n_locations[voxels] / 4, 1)
    static[3, inside] = norm / norm.max()
    fields = (grid.scatter @ columns).reshape(*grid.shape, -1, len(gain))
    pursuit = make_pursuit(fields, grid.n_locations, voxels, SPACING)
    return VoxelModel(
        grid=grid,
        voxels=voxels,
        back=back,
        filters=filters,
        pursuit=pursuit,
        sparse=make_sparse_patches(pursuit),
        blocks=blocks,
        columns=inside,
        static=static,
    )


def _pseudo_inverses(
    gain: np.ndarray, normals: np.ndarray | None, scatter: csr_array
) -> tuple[np.ndarray, np.ndarray]:
    """Prepare eLORETA: eigenvectors to moments of voxels, and data to eigenvectors."""
    inverse = eloreta(gain, gain.shape[1] // scatter.shape[1])
    back = inverse.back
    if normals is not None:
        back = normals[:, :, None] * back[:, None, :]
    back = scatter @ back.reshape(scatter.shape[1], -1)
    return (
        np.ascontiguousarray(back.reshape(3 * len(back), -1), np.float32),
        inverse.filters().astype(np.float32),
    )
