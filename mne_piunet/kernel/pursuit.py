"""Matching pursuit: find the patch that explains the data best, subtract its field, repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EXTENTS = (0.0, 0.013, 0.03)
"""Standard deviations of the Gaussian patches (m); 0 is a single voxel."""
N_STEPS = 3
"""Number of patches that are found one after the other."""
EXPONENTS = (4, 16)
"""Exponents of the likelihood, each a power of two. Half the number of sensors would be right for a
gain without errors. Lower exponents make broader maps."""

LEAST = 1e-3
"""Smallest share of the data's power that counts as left unexplained."""
_RIDGE = 0.01  # of a patch's largest eigenvalue, for directions that the sensors hardly see
_SEEN = 1e-4  # share of the gain's power in the combinations of sensors that are left out
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False, repr=False)
class Pursuit:
    """Fields of Gaussian patches around every voxel, prepared for matching pursuit.

    Attributes
    ----------
    basis : ndarray of float32, shape (n_seen, n_sensors)
        Orthonormal combinations of sensors that see the source space.
    rows : ndarray of float32, shape (n_extents, n_voxels, n_orient, n_seen)
        Whitened fields. Their products with the data have the power that the patch explains.
    roots : ndarray of float32, shape (n_extents, n_voxels, n_orient, n_orient)
        Maps these products to the moment at the centre of the patch.
    sizes : ndarray of float32, shape (n_extents, n_voxels)
        Sum over the locations of a patch that is 1 at its centre.
    n_locations : ndarray of float32, shape (n_voxels,)
        Number of locations in each voxel.
    kernels : list of tuple of ndarray
        Profiles along x, y and z for each extent but the single voxel.
    voxels : ndarray of int, shape (n_voxels,)
        Voxels that hold locations, as indices into the flat box.
    shape : tuple of int
        Shape of the box, the part of the grid that holds all these voxels.
    """

    basis: np.ndarray
    rows: np.ndarray
    roots: np.ndarray
    sizes: np.ndarray
    n_locations: np.ndarray
    kernels: list
    voxels: np.ndarray
    shape: tuple[int, int, int]

    def run(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find N_STEPS patches, one after the other.

        Parameters
        ----------
        data : ndarray of float32, shape (n_sensors, n_times)
            Whitened data.

        Returns
        -------
        maps : ndarray, shape (n_exponents, N_STEPS, n_voxels, n_times)
            Strength in each voxel after each step. It is the mean over all patches, weighted by
            their likelihood to the power of each exponent, and scaled to the strength of the
            best patch.
        left : ndarray, shape (N_STEPS, n_times)
            Power that is left after each step, as a mean over the combinations of sensors.
            Unit noise alone has 1.

        Notes
        -----
        Takes O(n_voxels * n_orient * n_seen) for each step, extent and sample.
        """
        n_extents, n_voxels, n_orient, n_seen = self.rows.shape
        rest = self.basis @ data
        n_times = rest.shape[1]
        every = np.arange(n_times)
        maps, powers = [], []
        for _ in range(N_STEPS):
            power = np.maximum(np.sum(rest**2, axis=0), _TINY)
            product = self.rows.reshape(-1, n_seen) @ rest
            product = product.reshape(n_extents * n_voxels, n_orient, n_times)
            explained = np.einsum("not,not->nt", product, product)
            share = np.maximum(1 - explained / power, LEAST)
            best = share.argmin(axis=0)
            likely = share[best, every] / share
            moment = np.einsum(
                "tij,tj->ti",
                self.roots.reshape(-1, n_orient, n_orient)[best],
                product[best, :, every],
            )
            strength = np.linalg.norm(moment, axis=1) * self.sizes.reshape(-1)[best]
            exponent, found = 1, []
            for wanted in EXPONENTS:
                while exponent < wanted:
                    likely = likely * likely
                    exponent *= 2
                found.append(likely * (strength / likely.sum(axis=0)))
            fields = self.rows.reshape(-1, n_orient, n_seen)[best]
            rest = rest - np.einsum("tos,to->st", fields, product[best, :, every])
            powers.append(np.mean(rest**2, axis=0))
            found = np.stack(found, axis=1).reshape(n_extents, n_voxels, -1)
            maps.append(self._spread(found).reshape(n_voxels, len(EXPONENTS), n_times))
        return np.stack(maps).transpose(2, 0, 1, 3), np.stack(powers)

    def _spread(self, strengths: np.ndarray) -> np.ndarray:
        """Spread the strengths of whole patches over the voxels that they cover.

        Parameters
        ----------
        strengths : ndarray, shape (n_extents, n_voxels, n_maps)
            Strength of the patch around each voxel.

        Returns
        -------
        total : ndarray, shape (n_voxels, n_maps)
            Strength in each voxel.
        """
        total = strengths[0].copy()
        box = np.zeros((int(np.prod(self.shape)), total.shape[1]), np.float32)
        for kernels, sizes, whole in zip(self.kernels, self.sizes[1:], strengths[1:], strict=True):
            box[self.voxels] = whole / sizes[:, None]
            blurred = blur(box.reshape(*self.shape, -1), kernels).reshape(box.shape)
            total += blurred[self.voxels] * self.n_locations[:, None]
        return total


def make_pursuit(
    fields: np.ndarray, n_locations: np.ndarray, voxels: np.ndarray, spacing: float
) -> Pursuit:
    """Prepare the fields of patches around every voxel.

    Parameters
    ----------
    fields : ndarray, shape (nx, ny, nz, n_orient, n_sensors)
        Sum of the whitened gains of the locations in each voxel.
    n_locations : ndarray, shape (nx * ny * nz,)
        Number of locations in each voxel.
    voxels : ndarray of int, shape (n_voxels,)
        Voxels that hold locations, as indices into the flat grid.
    spacing : float
        Side of a voxel (m).

    Returns
    -------
    pursuit : Pursuit
        The prepared fields.
    """
    *whole, n_orient, n_sensors = fields.shape
    flat = fields.reshape(-1, n_sensors)
    values, vectors = np.linalg.eigh(flat.T @ flat)
    seen = np.cumsum(values) > _SEEN * values.sum()
    basis = np.ascontiguousarray(vectors[:, seen].T, np.float32)
    places = np.unravel_index(voxels, whole)
    shape = tuple(int(place.max()) + 1 for place in places)
    voxels = np.ravel_multi_index(places, shape)
    fields, held = (
        np.ascontiguousarray(x.reshape(*whole, -1)[: shape[0], : shape[1], : shape[2]], np.float32)
        for x in (flat @ basis.T, n_locations)
    )
    rows, roots, sizes, kernels = [], [], [], []
    for extent in EXTENTS:
        if extent:
            kernels.append(tuple(_profile(n, extent / spacing) for n in shape))
            patch, size = blur(fields, kernels[-1]), blur(held, kernels[-1])
        else:
            patch, size = fields / np.maximum(held, _TINY), np.ones_like(held)
        patch = patch.reshape(-1, n_orient, len(basis))[voxels]
        row, root = whitened_fields(patch)
        rows.append(row.astype(np.float32))
        roots.append(root.astype(np.float32))
        sizes.append(size.ravel()[voxels])
    return Pursuit(
        basis=basis, rows=np.stack(rows), roots=np.stack(roots), sizes=np.stack(sizes),
        n_locations=held.ravel()[voxels], kernels=kernels, voxels=voxels, shape=shape,
    )  # fmt: skip


def blur(grids: np.ndarray, kernels: tuple[np.ndarray, ...]) -> np.ndarray:
    """Convolve grids along x, y and z.

    Parameters
    ----------
    grids : ndarray, shape (nx, ny, nz, n_grids)
        Any number of grids.
    kernels : tuple of ndarray, shapes (nx, nx), (ny, ny), (nz, nz)
        One convolution matrix for each axis.

    Returns
    -------
    grids : ndarray, shape (nx, ny, nz, n_grids)
        The blurred grids.
    """
    kx, ky, kz = kernels
    shape = nx, ny, nz, _ = grids.shape
    grids = kx @ grids.reshape(nx, -1)
    grids = ky @ grids.reshape(nx, ny, -1)
    return (kz @ grids.reshape(nx * ny, nz, -1)).reshape(shape)


def _profile(n: int, extent: float) -> np.ndarray:
    """Make the matrix that convolves with a Gaussian of height 1."""
    place = np.arange(n)
    return np.exp(-((place[:, None] - place) ** 2) / (2 * extent**2)).astype(np.float32)


def whitened_fields(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whiten the field F of each voxel: (FF' + ridge)^(-1/2) F, and this inverse root."""
    values, vectors = np.linalg.eigh(fields @ fields.transpose(0, 2, 1))
    values = np.maximum(values, 0) + _RIDGE * np.maximum(values[:, -1:], 0) + _TINY
    root = (vectors / np.sqrt(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
    return root @ fields, root
