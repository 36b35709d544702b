"""From moments of voxels to moments of locations: the near ones that fit the data get most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mne_piunet.kernel.grid import Grid
from mne_piunet.kernel.pursuit import LEAST, Pursuit, whitened_fields

_WIDTH = 0.005  # m, standard deviation of the distance from a voxel to its locations
_REACH = 3.0  # standard deviations
_OWN = 1e-3  # weight of a voxel's own locations, however far they are
_EXPONENT = 2  # of the likelihood; a higher one would draw extended activity into one location


@dataclass(frozen=True, eq=False, repr=False)
class Gather:
    """Shares the moment of each voxel among the locations near it.

    Attributes
    ----------
    near : scipy.sparse.csr_array, shape (n_locations, n_voxels)
        Weight of each location for each voxel, by their distance.
    rows : ndarray of float32, shape (n_locations, n_orient, n_seen)
        Whitened gain. Its products with the data have the power that a location explains.
    basis : ndarray of float32, shape (n_seen, n_sensors)
        Orthonormal combinations of sensors that see the source space.
    """

    near: csr_array
    rows: np.ndarray
    basis: np.ndarray

    def run(self, moments: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Share the moments of voxels among locations.

        Parameters
        ----------
        moments : ndarray, shape (n_voxels, n_times, 3)
            Moments of the voxels that hold locations.
        data : ndarray of float32, shape (n_sensors, n_times)
            Whitened data.

        Returns
        -------
        moments : ndarray, shape (n_locations, n_times, 3)
            Moments of the locations. Their sum is that of the voxels' moments.

        Notes
        -----
        Takes O(n_locations * n_orient * n_seen) for each sample.
        """
        n_locations, n_orient, n_seen = self.rows.shape
        seen = self.basis @ data
        power = np.maximum(np.sum(seen**2, axis=0), np.finfo(np.float32).tiny)
        product = (self.rows.reshape(-1, n_seen) @ seen).reshape(n_locations, n_orient, -1)
        left = np.maximum(1 - np.einsum("not,not->nt", product, product) / power, LEAST)
        likely = (left.min(axis=0) / left) ** _EXPONENT
        given = moments / (self.near.T @ likely)[:, :, None]
        given = self.near @ given.reshape(len(moments), -1)
        return likely[:, :, None] * given.reshape(n_locations, -1, 3)


def make_gather(gain: np.ndarray, positions: np.ndarray, grid: Grid, pursuit: Pursuit) -> Gather:
    """Prepare a gain for gathering.

    Parameters
    ----------
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Whitened gain.
    positions : ndarray, shape (n_locations, 3)
        Positions of the locations in m.
    grid : Grid
        The voxels.
    pursuit : Pursuit
        Holds the combinations of sensors that see the source space.

    Returns
    -------
    gather : Gather
        The prepared gain.
    """
    seen = (pursuit.basis @ gain).T.reshape(len(positions), -1, len(pursuit.basis))
    voxels = np.flatnonzero(grid.n_locations)
    apart = cKDTree(grid.centers[voxels]).sparse_distance_matrix(
        cKDTree(positions), _REACH * _WIDTH, output_type="coo_matrix"
    )
    weight = np.exp(-(apart.data**2) / (2 * _WIDTH**2))
    own = (grid.scatter[voxels] > 0).T
    near = csr_array((weight, (apart.col, apart.row)), shape=own.shape) + _OWN * own
    rows, _ = whitened_fields(np.ascontiguousarray(seen, np.float32))
    return Gather(csr_array(near, dtype=np.float32), rows, pursuit.basis)
