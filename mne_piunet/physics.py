"""What the network sees: pseudo-inverses of the data on a voxel grid, and what the gain knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mne_piunet.grid import Grid, make_grid
from mne_piunet.pseudoinverse import LAMBDAS, eloreta

N_MOMENTS = 3 * len(LAMBDAS)
"""Leading channels: x, y and z for each regularization."""
N_INPUTS = N_MOMENTS + 4
"""All channels: after the moments, signal-to-noise ratio and three of the gain."""

_LOUD = 30.0  # dB of the data's power over that of the noise that count as 1


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
    static : ndarray of float32, shape (3, n_voxels)
        Whether a voxel has sources, their density, and the norm of their gain.
    """

    grid: Grid
    voxels: np.ndarray
    back: np.ndarray
    basis: np.ndarray
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
        inputs : ndarray of float32, shape (n_times, N_INPUTS, *grid)
            Each regularization is scaled to a largest moment of 1.
        """
        data = np.asarray(data, np.float32)
        n_times = data.shape[1]
        out = np.zeros((n_times, N_INPUTS, self.static.shape[1]), np.float32)
        rotated = np.concatenate([basis @ data for basis in self.basis], axis=1)
        moments = (self.back @ rotated).reshape(-1, 3, len(self.basis), n_times)
        largest = np.sqrt(np.max(np.sum(moments**2, axis=1), axis=0))
        moments /= np.maximum(largest, np.finfo(np.float32).tiny)
        moments = moments.transpose(3, 2, 1, 0).reshape(n_times, N_MOMENTS, -1)
        out[:, :N_MOMENTS, self.voxels] = moments
        power = np.mean(data**2, axis=0) / noise_power
        loudness = 10 * np.log10(np.maximum(power, 1e-3)) / _LOUD
        out[:, N_MOMENTS] = loudness[:, None] * self.static[0]
        out[:, N_MOMENTS + 1 :] = self.static
        return out.reshape(n_times, N_INPUTS, *self.grid.shape)


def make_physics(
    gain: np.ndarray, positions: np.ndarray, normals: np.ndarray | None = None, *, multiple: int = 1
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
    multiple : int
        The sides of the grid are multiples of this.

    Returns
    -------
    physics : Physics
        The prepared gain.
    """
    gain = np.asarray(gain, np.float32)
    n_sources = len(positions)
    inverse = eloreta(gain, gain.shape[1] // n_sources)
    grid = make_grid(positions, multiple=multiple)
    voxels = np.flatnonzero(grid.n_sources)
    scatter = grid.scatter[voxels]
    back = inverse.back
    if normals is not None:
        back = normals[:, :, None] * back[:, None, :]
    back = scatter @ back.reshape(n_sources, -1)
    filters = inverse.filters()[:, :, None]
    power = np.sum((gain**2).reshape(len(gain), n_sources, -1), axis=(0, 2))
    norm = np.sqrt(scatter @ power / grid.n_sources[voxels])
    static = np.zeros((3, grid.scatter.shape[0]), np.float32)
    static[0, voxels] = 1
    static[1, voxels] = np.minimum(grid.n_sources[voxels] / 4, 1)
    static[2, voxels] = norm / norm.max()
    return Physics(
        grid=grid,
        voxels=voxels,
        back=np.ascontiguousarray(back.reshape(3 * len(voxels), -1), np.float32),
        basis=(filters * inverse.basis.T).astype(np.float32),
        static=static,
    )
