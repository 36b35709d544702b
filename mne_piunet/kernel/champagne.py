"""Sparse Bayesian learning: the patches of cortex that explain the data together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mne_piunet.kernel.pursuit import Pursuit

SWEEPS = (3, 6, 9)
"""Sweeps of the learning after which maps are kept: the later, the sharper."""

_SPACINGS = (2, 4)  # voxels between the centres of patches of each extent, along each side
_SEEN = 1e-3  # share of the patches' power that is left out with the weakest combinations
_MISFIT = 0.03  # share of the data's power that errors of the gain may have
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class SparsePatches:
    """Gaussian patches on a coarse grid, prepared for sparse Bayesian learning.

    Attributes
    ----------
    basis : ndarray of float32, shape (n_seen, n_sensors)
        Combinations of sensors that see sources, orthonormal.
    fields : ndarray of float32, shape (n_patches, n_orient, n_seen)
        Fields of patches with a moment of 1 along each direction.
    powers : ndarray of float32, shape (n_patches, n_seen * (n_seen + 1) / 2)
        Upper triangles of their covariances for random directions.
    prior : ndarray of float32, shape (n_patches,)
        Powers that the learning starts from, for data with a power of 1.
    spread : ndarray of float32, shape (n_voxels, n_patches)
        Share of each patch's strength that is in each voxel.
    """

    basis: np.ndarray
    fields: np.ndarray
    powers: np.ndarray
    prior: np.ndarray
    spread: np.ndarray

    def run(self, data: np.ndarray, noise_power: float | np.ndarray = 1.0) -> np.ndarray:
        """Learn the power of all patches from each sample by itself.

        Parameters
        ----------
        data : ndarray of float32, shape (n_sensors, n_times)
            Whitened data.
        noise_power : float | ndarray, shape (n_times,)
            Power of the noise in them.

        Returns
        -------
        maps : ndarray, shape (len(SWEEPS), n_voxels, n_times)
            Strength in each voxel, by the posterior mean after some of the sweeps.

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
        """Learn powers without end.

        Parameters
        ----------
        data : ndarray of float32, shape (n_sensors, n_times)
            Whitened data.
        noise_power : float | ndarray, shape (n_times,)
            Power of the noise in them.

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


def make_sparse(pursuit: Pursuit) -> SparsePatches:
    """Prepare the wider patches of a pursuit.

    Parameters
    ----------
    pursuit : Pursuit
        Patches around all voxels.

    Returns
    -------
    sparse : SparsePatches
        Those of one voxel in each block, but for the points.
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
        share = pursuit.n_sources[:, None] / size[chosen]
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
    prior = prior / prior.sum() / np.einsum("jop,jop->j", fields, fields)
    return SparsePatches(
        basis=(seen.T @ pursuit.basis).astype(np.float32),
        fields=fields,
        powers=np.einsum("jop,jop->jp", fields[:, :, first], fields[:, :, second]),
        prior=prior.astype(np.float32),
        spread=np.ascontiguousarray(np.concatenate(spread, axis=1), np.float32),
    )
