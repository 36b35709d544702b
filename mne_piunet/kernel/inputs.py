"""What the network sees: pseudo-inverses and patches on a voxel grid, and what the gain knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mne_piunet.kernel.champagne import SWEEPS, SparsePatches, make_sparse
from mne_piunet.kernel.eloreta import LAMBDAS, eloreta
from mne_piunet.kernel.grid import SPACING, Blocks, Grid, make_blocks, make_grid
from mne_piunet.kernel.pursuit import EXPONENTS, N_STEPS, Pursuit, make_pursuit

N_MOMENTS = 3 * len(LAMBDAS)
"""Leading channels: x, y and z for each regularization."""
N_PATCHES = len(EXPONENTS) * (N_STEPS + 1) + len(SWEEPS)
"""Channels after them: for each exponent every patch of the pursuit, then all of them together;
then all patches of the sparse learning, after each of its sweeps."""
MASK = N_MOMENTS + N_PATCHES + N_STEPS + 2
"""Channel that is 1 where there are sources; before it the loudness of what each patch leaves
and of the data, and the number of sensors."""
N_INPUTS = MASK + 3
"""All channels; the last ones are the density of sources and the norm of their gain."""
FLOOR = 1e-4
"""Strength, relative to the largest, that counts as none in the channels of patches."""

_LOUD = 30.0  # dB of the data's power over that of the noise that count as 1
_MANY = 100.0  # sensors that count as 0


@dataclass(frozen=True, eq=False)
class Physics:
    """A whitened gain, prepared to turn data into inputs of the network.

    Attributes
    ----------
    grid : Grid
        The voxels.
    voxels : ndarray of int, shape (n_active,)
        Voxels with sources.
    back : ndarray of float32, shape (n_active * 3, n_sensors)
        Eigenvectors of the pseudo-inverse to moments of voxels.
    basis : ndarray of float32, shape (n_lambdas, n_sensors, n_sensors)
        Data to eigenvectors, filtered for each regularization.
    pursuit : Pursuit
        Patches that explain the data one after the other.
    sparse : SparsePatches
        Patches that explain them together.
    blocks : Blocks
        Where the network computes.
    columns : ndarray of int, shape (n_active,)
        Where among the voxels of the blocks those with sources are.
    static : ndarray of float32, shape (4, side**3 * n_blocks)
        Number of sensors, whether a voxel has sources, their density, and the norm of their
        gain.
    """

    grid: Grid
    voxels: np.ndarray
    back: np.ndarray
    basis: np.ndarray
    pursuit: Pursuit
    sparse: SparsePatches
    blocks: Blocks
    columns: np.ndarray
    static: np.ndarray

    def inputs(self, data: np.ndarray, *, noise_power: float | np.ndarray = 1.0) -> np.ndarray:
        """Inputs of the network.

        Parameters
        ----------
        data : ndarray, shape (n_sensors, n_times)
            Whitened data.
        noise_power : float | ndarray, shape (n_times,)
            Power of the noise in them.

        Returns
        -------
        inputs : ndarray of float32, shape (n_times, N_INPUTS, side**3 * n_blocks)
            Of the voxels of all blocks. Each regularization is scaled to a largest moment of 1;
            patches have logarithmic strengths from 0 (``FLOOR``) to 1.
        """
        data = np.asarray(data, np.float32)
        n_times = data.shape[1]
        out = np.zeros((n_times, N_INPUTS, self.static.shape[1]), np.float32)
        rotated = np.concatenate([basis @ data for basis in self.basis], axis=1)
        moments = (self.back @ rotated).reshape(-1, 3, len(self.basis), n_times)
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
        loud = N_MOMENTS + N_PATCHES
        out[:, N_MOMENTS:loud, self.columns] = maps.transpose(2, 0, 1)
        power = np.concatenate([left, np.mean(data**2, axis=0, keepdims=True)]) / noise_power
        loudness = 10 * np.log10(np.maximum(power, 1e-3)) / _LOUD
        out[:, loud : MASK - 1] = loudness.T[:, :, None] * self.static[1]
        out[:, MASK - 1 :] = self.static
        return out


def make_physics(
    gain: np.ndarray,
    positions: np.ndarray,
    normals: np.ndarray | None = None,
    *,
    side: int = 1,
    multiple: int = 1,
) -> Physics:
    """Prepare a gain.

    Parameters
    ----------
    gain : ndarray, shape (n_sensors, n_sources * n_orient)
        Whitened gain of full row rank. Without `normals`, three columns a source, along x, y
        and z of the head frame.
    positions : ndarray, shape (n_sources, 3)
        Sources in m, in the head frame.
    normals : ndarray, shape (n_sources, 3) | None
        Fixed orientations, one column a source.
    side : int
        Voxels along each side of the network's blocks.
    multiple : int
        The sides of the grid are multiples of this, itself one of `side`.

    Returns
    -------
    physics : Physics
        The prepared gain.
    """
    gain = np.asarray(gain, np.float32)
    grid = make_grid(positions, multiple=multiple)
    voxels = np.flatnonzero(grid.n_sources)
    back, basis = _pseudoinverses(gain, normals, grid.scatter[voxels])
    columns = gain.T.reshape(len(positions), -1)
    power = np.einsum("nk,nk->n", columns, columns)
    norm = np.sqrt(grid.scatter[voxels] @ power / grid.n_sources[voxels])
    blocks = make_blocks(grid.n_sources.reshape(grid.shape) > 0, side)
    inside = blocks.columns(voxels)
    static = np.zeros((4, blocks.voxels.size), np.float32)
    static[0, inside] = np.log10(len(gain) / _MANY)
    static[1, inside] = 1
    static[2, inside] = np.minimum(grid.n_sources[voxels] / 4, 1)
    static[3, inside] = norm / norm.max()
    fields = (grid.scatter @ columns).reshape(*grid.shape, -1, len(gain))
    pursuit = make_pursuit(fields, grid.n_sources, voxels, SPACING)
    return Physics(
        grid=grid,
        voxels=voxels,
        back=back,
        basis=basis,
        pursuit=pursuit,
        sparse=make_sparse(pursuit),
        blocks=blocks,
        columns=inside,
        static=static,
    )


def _pseudoinverses(gain, normals, scatter) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors to moments of voxels, and data to eigenvectors for each regularization."""
    inverse = eloreta(gain, gain.shape[1] // scatter.shape[1])
    back = inverse.back
    if normals is not None:
        back = normals[:, :, None] * back[:, None, :]
    back = scatter @ back.reshape(scatter.shape[1], -1)
    filters = inverse.filters()[:, :, None]
    return (
        np.ascontiguousarray(back.reshape(3 * len(back), -1), np.float32),
        (filters * inverse.basis.T).astype(np.float32),
    )
