"""Moments of voxels to the sources near them, most to those that fit the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mne_piunet.kernel.grid import Grid
from mne_piunet.kernel.pursuit import Pursuit, whitened_fields

_WIDTH = 0.005  # m, standard deviation of the distance from a voxel to its sources
_REACH = 3.0  # standard deviations
_OWN = 1e-3  # weight of a voxel's own sources, however far they are
_EXPONENT = 2  # of the likelihood: higher ones gather what belongs to wide patches in one source
_LEAST = 1e-3  # share of the power that is left, at least


@dataclass(frozen=True, eq=False)
class Sharing:
    """What it takes to share the moments of voxels among sources.

    Attributes
    ----------
    basis : ndarray of float32, shape (n_seen, n_sensors)
        Combinations of sensors that see sources, orthonormal.
    rows : ndarray of float32, shape (n_sources, n_orient, n_seen)
        Whitened gain: its products with the data have the power that a source explains.
    near : scipy.sparse.csr_array, shape (n_sources, n_voxels)
        How near sources are to voxels.
    """

    basis: np.ndarray
    rows: np.ndarray
    near: csr_array

    def share(self, moments: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Share moments.

        Parameters
        ----------
        moments : ndarray, shape (n_voxels, n_times, 3)
            Of the voxels with sources.
        data : ndarray of float32, shape (n_sensors, n_times)
            Whitened data.

        Returns
        -------
        moments : ndarray, shape (n_sources, n_times, 3)
            Of the sources; all voxels together give what they have.

        Notes
        -----
        Takes O(n_sources * n_orient * n_seen) for each sample.
        """
        n_sources, n_orient, n_seen = self.rows.shape
        seen = self.basis @ data
        power = np.maximum(np.sum(seen**2, axis=0), np.finfo(np.float32).tiny)
        product = (self.rows.reshape(-1, n_seen) @ seen).reshape(n_sources, n_orient, -1)
        left = np.maximum(1 - np.einsum("not,not->nt", product, product) / power, _LEAST)
        likely = (left.min(axis=0) / left) ** _EXPONENT
        given = moments / (self.near.T @ likely)[:, :, None]
        given = self.near @ given.reshape(len(moments), -1)
        return likely[:, :, None] * given.reshape(n_sources, -1, 3)


def make_sharing(gain: np.ndarray, positions: np.ndarray, grid: Grid, pursuit: Pursuit) -> Sharing:
    """Prepare a gain.

    Parameters
    ----------
    gain : ndarray, shape (n_sensors, n_sources * n_orient)
        Whitened gain.
    positions : ndarray, shape (n_sources, 3)
        Sources in m.
    grid : Grid
        The voxels.
    pursuit : Pursuit
        Knows the combinations of sensors that see sources.

    Returns
    -------
    sharing : Sharing
        The prepared gain.
    """
    seen = (pursuit.basis @ gain).T.reshape(len(positions), -1, len(pursuit.basis))
    voxels = np.flatnonzero(grid.n_sources)
    apart = cKDTree(grid.centers[voxels]).sparse_distance_matrix(
        cKDTree(positions), _REACH * _WIDTH, output_type="coo_matrix"
    )
    weight = np.exp(-(apart.data**2) / (2 * _WIDTH**2))
    own = (grid.scatter[voxels] > 0).T
    near = csr_array((weight, (apart.col, apart.row)), shape=own.shape) + _OWN * own
    rows, _ = whitened_fields(np.ascontiguousarray(seen, np.float32))
    return Sharing(pursuit.basis, rows, csr_array(near, dtype=np.float32))
