"""Sparse Bayesian learning (Champagne): the few patches that explain the data together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mne_piunet.kernel.pursuit import Pursuit

SWEEPS = (3, 6, 9)
"""Numbers of sweeps after which a map is kept. Later maps are sharper."""

_SPACINGS = (2, 4)  # voxels between the centres of the patches of each extent, along each axis
_SEEN = 1e-3  # share of the patches' power in the combinations of sensors that are left out
_MISFIT = 0.03  # share of the data's power that is taken for errors of the gain
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False, repr=False)
class SparsePatches:
    """Gaussian patches on a coarse grid, prepared for sparse Bayesian learning.

    Attributes
    ----------
    fields : ndarray of float32, shape (n_patches, n_orient, n_seen)
        Fields of patches with a moment of 1 along each direction.
    powers : ndarray of float32, shape (n_patches, n_seen * (n_seen + 1) / 2)
        Upper triangles of the covariances of these fields for random directions.
    prior : ndarray of float32, shape (n_patches,)
        Power of each patch before the first sweep, for data with a power of 1.
    spread : ndarray of float32, shape (n_voxels, n_patches)
        Share of each patch's strength that is in each voxel.
    basis : ndarray of float32, shape (n_seen, n_sensors)
        Orthonormal combinations of sensors that see the patches.
    """

    fields: np.ndarray
    powers: np.ndarray
    prior: np.ndarray
    spread: np.ndarray
    basis: np.ndarray

    def run(self, data: np.ndarray, noise_power: float | np.ndarray = 1.0) -> np.ndarray:
        """Learn the powers of all patches, separately for each sample.

        Parameters
        ----------
        data : ndarray of float32, shape (n_sensors, n_times)
            Whitened data.
        noise_power : float | ndarray, shape (n_times,)
            Power of the noise in the data.

        Returns
        -------
        maps : ndarray, shape (len(SWEEPS), n_voxels, n_times)
            Strength of the posterior mean in each voxel, after each of the SWEEPS.

        Notes
        -----
        Takes O(n_patches * n_seen^2 + n_seen^3) for each sweep and sample.
        """
        sweeps = islice(self.sweeps(data, noise_power), max(SWEEPS))
        kept = [strength for k, (_, strength) in enumerate(sweeps, 1) if k in SWEEPS]
        maps = self.spread @ np.concatenate(kept, axis=1)
        return maps.reshape(len(maps), len(SWEEPS), -1).transpose(1, 0, 2)

    def sweeps(
        self, data: np.ndarray, noise_power: float | np.ndarray = 1.0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Learn the powers of all patches, sweep after sweep, without end.

        Parameters
        ----------
        data, noise_power : ndarray, float | ndarray
            As for :meth:`run`.

        Yields
        ------
        power, strength : ndarray of float32, shape (n_patches, n_times)
            Prior power of each patch, and the strength of its posterior mean.

        Notes
        -----
        A sweep multiplies the power g of a patch with fields F by the root of
        |F' inv(C) y|^2 / tr(F' inv(C) F), C = noise + sum of all g F F'. This minimizes a bound
        of y' inv(C) y + log det C, which therefore never rises (Wipf & Nagarajan 2009).
        """
        n_patches, n_orient, n_seen = self.fields.shape
        seen = self.basis @ data
        upper = np.triu_indices(n_seen)
        diagonal = np.arange(n_seen)
        twice = np.where(upper[0] == upper[1], 1, 2).astype(np.float32)
        total = np.maximum(np.sum(seen**2, axis=0), _TINY)
        noise = (noise_power + _MISFIT * total / n_seen).astype(np.float32)
        power = self.prior[:, None] * total
        covariance = np.empty((seen.shape[1], n_seen, n_seen), np.float32)
        while True:
            triangles = power.T @ self.powers
            covariance[:, upper[0], upper[1]] = triangles
            covariance[:, upper[1], upper[0]] = triangles
            covariance[:, diagonal, diagonal] += noise[:, None]
            precision = np.linalg.inv(covariance)
            fit = np.einsum("tij,jt->it", precision, seen)
            product = (self.fields.reshape(-1, n_seen) @ fit).reshape(n_patches, n_orient, -1)
            explained = np.einsum("jot,jot->jt", product, product)
            yield power, power * np.sqrt(explained)
            expected = (precision[:, upper[0], upper[1]] * twice) @ self.powers.T
            power = power * np.sqrt(explained / np.maximum(expected.T, _TINY))


def make_sparse_patches(pursuit: Pursuit) -> SparsePatches:
    """Thin out the patches of a pursuit for sparse Bayesian learning.

    Parameters
    ----------
    pursuit : Pursuit
        Patches around every voxel.

    Returns
    -------
    sparse : SparsePatches
        The patches around one voxel in every cube of 2 or 4 voxels, without the single voxels.
    """
    places = np.stack(np.unravel_index(pursuit.voxels, pursuit.shape), axis=1)
    fields, priors, spread = [], [], []
    for spacing, kernels, row, root, size in zip(
        _SPACINGS, pursuit.kernels, pursuit.rows[1:], pursuit.roots[1:], pursuit.sizes[1:],
        strict=True,
    ):  # fmt: skip
        chosen = np.unique(places // spacing, axis=0, return_index=True)[1]
        fields.append(np.linalg.solve(root[chosen], row[chosen]) / size[chosen, None, None])
        priors.append(np.full(len(chosen), spacing**3))  # as if one stood at each voxel
        share = pursuit.n_locations[:, None] / size[chosen]
        for kernel, place in zip(kernels, places.T, strict=True):
            share = share * kernel[place[:, None], place[chosen]]
        spread.append(share)
    fields = np.concatenate(fields)
    flat = fields.reshape(-1, fields.shape[2])
    values, vectors = np.linalg.eigh(flat.T @ flat)
    seen = vectors[:, np.cumsum(values) > _SEEN * values.sum()]
    fields = np.ascontiguousarray(fields @ seen, np.float32)
    first, second = np.triu_indices(fields.shape[2])
    prior = np.concatenate(priors)
    prior = prior / prior.sum() / np.maximum(np.einsum("jop,jop->j", fields, fields), _TINY)
    return SparsePatches(
        fields=fields,
        powers=np.einsum("jop,jop->jp", fields[:, :, first], fields[:, :, second]),
        prior=prior.astype(np.float32),
        spread=np.ascontiguousarray(np.concatenate(spread, axis=1), np.float32),
        basis=(seen.T @ pursuit.basis).astype(np.float32),
    )
