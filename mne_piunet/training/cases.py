"""Training examples: random sources, whose data come from another gain than the inverse knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mne_invkit.population.head import Head
from mne_invkit.population.montages import draw_montage
from mne_piunet._docs import fill_doc
from mne_piunet.kernel.inputs import VoxelModel, make_voxel_model

_MAX_SOURCES = 20
_SINGLE = 0.45  # share of the examples with one source
_FOCAL = 0.15  # share of the sources that are a single location
_NORMAL = 0.7  # share of the cortical examples whose sources point along the normals
_FIXED = 0.4  # share of the cortical cases that know the component along the normals alone
_EXTENT = (0.005, 0.04)  # m, standard deviation of a patch
_SNR = (-5.0, 30.0)  # dB
_BRAIN = 0.6  # largest share of the noise's power that is background activity
_KNOWN = 0.7  # share of the cases that know the covariance of all noise, not of the sensors' alone
_SPREAD = 0.3  # standard deviation of the logarithm of sensor noise
_MISJUDGED = 1.5  # dB, standard deviation of the error in the noise's power


@dataclass(frozen=True, eq=False)
class Case:
    """A head, a montage and noise, ready to draw examples from.

    Attributes
    ----------
    voxel_model : VoxelModel
        The gain that the inverse knows, which comes from another head model than `data_gain`
        has.
    data_gain : ndarray, shape (n_rank, n_locations * 3)
        The gain that makes the data, whitened as the other one.
    noise_root : ndarray, shape (n_rank, n_rank)
        A square root of the covariance of the whitened noise.
    positions, normals : ndarray, shape (n_locations, 3)
        Positions and normals of the locations. A volume has no normals (None).
    fixed : bool
        Whether all sources point along the normals.
    """

    voxel_model: VoxelModel
    data_gain: np.ndarray
    noise_root: np.ndarray
    positions: np.ndarray
    normals: np.ndarray | None
    fixed: bool

    @fill_doc
    def draw(
        self,
        n_samples: int,
        rng: np.random.Generator,
        *,
        n_sources: int | None = None,
        snr: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw examples.

        Parameters
        ----------
        n_samples : int
            Number of examples.
        %(generator)s
        n_sources : int | None
            Number of sources in each example. None draws it.
        snr : float | None
            Signal-to-noise ratio in dB. None draws it.

        Returns
        -------
        inputs : ndarray, shape (n_samples, N_INPUTS, *grid)
            Inputs of the network.
        targets : ndarray, shape (n_samples, 4, *grid)
            What the network should answer.
        """
        moments = np.stack([self.draw_moments(rng, n_sources) for _ in range(n_samples)])
        return self.inputs(moments, rng, snr), self.targets(moments)

    @fill_doc
    def draw_moments(self, rng: np.random.Generator, n_sources: int | None = None) -> np.ndarray:
        """Draw a few patches of unit norm times normal amplitudes.

        Parameters
        ----------
        %(generator)s
        n_sources : int | None
            Number of patches. None draws it.

        Returns
        -------
        moments : ndarray of float32, shape (n_locations, 3)
            Moments of the locations.
        """
        if n_sources is None:
            many = int(np.exp(rng.uniform(np.log(2), np.log(_MAX_SOURCES + 1))))
            n_sources = 1 if rng.random() < _SINGLE else many
        along_normals = self.fixed or (self.normals is not None and rng.random() < _NORMAL)
        moments = np.zeros((len(self.positions), 3), np.float32)
        for _ in range(n_sources):
            center = rng.integers(len(self.positions))
            if rng.random() < _FOCAL:
                profile = np.zeros(len(self.positions), np.float32)
                profile[center] = 1
            else:
                distance = np.sum((self.positions - self.positions[center]) ** 2, axis=1)
                profile = np.exp(-distance / (2 * rng.uniform(*_EXTENT) ** 2))
            if along_normals:
                patch = profile[:, None] * self.normals
            else:
                direction = rng.standard_normal(3).astype(np.float32)
                patch = profile[:, None] * (direction / np.linalg.norm(direction))
            moments += rng.standard_normal() * patch / np.linalg.norm(patch)
        return moments

    @fill_doc
    def inputs(
        self, moments: np.ndarray, rng: np.random.Generator, snr: float | None = None
    ) -> np.ndarray:
        """Compute the network's inputs from noisy data of the moments.

        Parameters
        ----------
        moments : ndarray, shape (n_samples, n_locations, 3)
            True moments of the locations.
        %(generator)s
        snr : float | None
            As for :meth:`draw`.

        Returns
        -------
        inputs : ndarray, shape (n_samples, N_INPUTS, *grid)
            Inputs of the network.
        """
        n_samples = len(moments)
        signal = self.data_gain @ moments.reshape(n_samples, -1).T
        noise = self.noise_root @ rng.standard_normal((len(signal), n_samples), np.float32)
        db = rng.uniform(*_SNR, n_samples) if snr is None else np.full(n_samples, snr)
        ratio = np.mean(noise**2, axis=0) / np.maximum(np.mean(signal**2, axis=0), 1e-30)
        signal *= np.sqrt(ratio * 10 ** (db / 10)).astype(np.float32)
        noise_power = np.mean(self.noise_root**2) * len(signal)
        noise_power = noise_power * 10 ** (rng.normal(0, _MISJUDGED, n_samples) / 10)
        inputs = self.voxel_model.inputs(signal + noise, noise_power=noise_power)
        return self.voxel_model.blocks.on_grid(inputs)

    def targets(self, moments: np.ndarray) -> np.ndarray:
        """Compute what the network should answer.

        Parameters
        ----------
        moments : ndarray, shape (n_samples, n_locations, 3)
            True moments of the locations.

        Returns
        -------
        targets : ndarray of float32, shape (n_samples, 4, *grid)
            Moment and strength of each voxel. Opposite moments within a voxel cancel in its
            moment, but not in its strength. Strengths sum to 1.
        """
        n_samples, n_locations, _ = moments.shape
        grid = self.voxel_model.grid
        parts = np.concatenate([moments, np.linalg.norm(moments, axis=2)[:, :, None]], axis=2)
        voxels = grid.scatter @ parts.transpose(1, 0, 2).reshape(n_locations, -1)
        voxels = voxels.reshape(-1, n_samples, 4).transpose(1, 2, 0).astype(np.float32)
        voxels /= voxels[:, 3:].sum(axis=2, keepdims=True)
        return voxels.reshape(n_samples, 4, *grid.shape)


@fill_doc
def draw_case(head: Head, rng: np.random.Generator, *, multiple: int = 8) -> Case:
    """Draw a montage, its noise, and what the inverse knows of both.

    Parameters
    ----------
    head : Head
        The head.
    %(generator)s
    %(multiple)s

    Returns
    -------
    case : Case
        The case.
    """
    rows = draw_montage(head, rng)
    basis = reference_basis(head.kinds[rows])
    gain, data_gain = (g[rows] for g in (head.gain, head.data_gain))
    std = np.ones(len(rows))
    for kind in np.unique(head.kinds[rows]):
        mine = head.kinds[rows] == kind
        std[mine] = np.sqrt(np.mean((basis.T @ (basis @ gain))[mine] ** 2))
        std[mine] *= np.exp(rng.normal(0, _SPREAD))
    std *= np.exp(rng.normal(0, _SPREAD, len(rows)))
    sensor = basis @ np.diag(std**2) @ basis.T
    noise = background(sensor, basis @ data_gain, rng)
    known = noise if rng.random() < _KNOWN else sensor
    whitener = np.linalg.inv(np.linalg.cholesky(known)) @ basis
    noise = whitener @ basis.T @ noise @ basis @ whitener.T
    fixed = head.normals is not None and rng.random() < _FIXED
    gain = whitener @ gain
    if fixed:
        gain = np.einsum("mnk,nk->mn", gain.reshape(len(gain), -1, 3), head.normals)
    normals = head.normals.astype(np.float32) if head.normals is not None else None
    return Case(
        voxel_model=make_voxel_model(
            gain, head.positions, normals if fixed else None, multiple=multiple
        ),
        data_gain=(whitener @ data_gain).astype(np.float32),
        noise_root=np.linalg.cholesky(noise).astype(np.float32),
        positions=head.positions.astype(np.float32),
        normals=normals,
        fixed=fixed,
    )


@fill_doc
def background(sensor: np.ndarray, gain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix sensor noise with background activity, in a random proportion.

    All components are active in the background, independently and with the same power.

    Parameters
    ----------
    sensor : ndarray, shape (n_rank, n_rank)
        Covariance of the sensors' noise.
    gain : ndarray, shape (n_rank, n_components)
        Gain of all components. They are independent and have the same variance in this
        background activity.
    %(generator)s

    Returns
    -------
    noise : ndarray, shape (n_rank, n_rank)
        Covariance of the mixture, of the same trace as `sensor`.
    """
    gain = gain.astype(np.float64)
    brain = gain @ gain.T
    share = rng.uniform(0, _BRAIN)
    return (1 - share) * sensor + share * np.trace(sensor) / np.trace(brain) * brain


def reference_basis(kinds: np.ndarray) -> np.ndarray:
    """Make a basis of the sensors' data that leaves out the mean over electrodes.

    Parameters
    ----------
    kinds : ndarray of str, shape (n_sensors,)
        Kind of each sensor, as "eeg".

    Returns
    -------
    basis : ndarray, shape (n_rank, n_sensors)
        Orthonormal rows.
    """
    basis = np.eye(len(kinds))
    eeg = np.flatnonzero(kinds == "eeg")
    if not len(eeg):
        return basis
    centered = np.linalg.svd(np.eye(len(eeg)) - 1 / len(eeg))[0][:, :-1].T
    out = np.zeros((len(kinds) - 1, len(kinds)))
    out[: len(centered), eeg] = centered
    others = np.flatnonzero(kinds != "eeg")
    out[np.arange(len(centered), len(out)), others] = 1
    return out
