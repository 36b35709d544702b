"""A forward solution, prepared for the network."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import mne
import numpy as np
from mne.utils import fill_doc, logger, verbose, warn

from mne_invkit._mne import is_fixed
from mne_invkit.inverse.problem import InverseProblem, prepare_problem
from mne_piunet.inference import load_network, side_by_side
from mne_piunet.kernel.gather import Sharing, make_sharing
from mne_piunet.kernel.inputs import Physics, make_physics
from mne_piunet.weights import Weights, load_piunet

BATCH = 16
"""Samples that pass the network together, if not given."""

_SILENT = 1e-12  # of the data's largest power: samples that are left at zero
_FEW = 20  # sensors
_SMALL, _LARGE = 0.08, 0.24  # m, longest side of the box of sources
_QUIET, _LOUD = 0.3, 1e4  # power of whitened data over that of the noise


@dataclass(frozen=True, eq=False)
class PIUNet:
    """A forward solution prepared for the network, to be used on any number of recordings.

    Attributes
    ----------
    problem : InverseProblem
        Whitened gain and what is needed to bring estimates back to MNE.
    physics : Physics
        Pseudo-inverses and patches on the voxel grid.
    sharing : Sharing
        From voxels to sources.
    weights : Weights
        The model.
    backend : str
        What runs the network.
    """

    problem: InverseProblem
    physics: Physics
    sharing: Sharing
    weights: Weights
    backend: str = "auto"

    def estimate(self, data: np.ndarray, *, noise_power: float = 1.0, batch_size: int = BATCH):
        """Estimate the sources of whitened data.

        Parameters
        ----------
        data : ndarray, shape (n_rank, n_times)
            Whitened data.
        noise_power : float
            Power of their noise, 1 / nave for an average whitened for single trials.
        batch_size : int
            Samples that pass the network together.

        Returns
        -------
        sources : ndarray, shape (n_locations * n_orient, n_times)
            In the scale of ``problem.gain``. The network tells the shape of each sample, and
            least squares to the data its size.
        """
        network = load_network(self.weights, self.backend)
        gain = self.problem.gain
        data = np.asarray(data, np.float32)
        axes = source_axes(self.problem)
        sources = np.zeros((gain.shape[1], data.shape[1]), np.float32)
        loud = _heard(np.sum(data**2, axis=0))

        def solve(some):
            inputs = self.physics.inputs(data[:, some], noise_power=noise_power)
            found = network(inputs, self.physics.blocks.places)
            moments = found[:, :3, self.physics.columns]
            moments = self.sharing.share(moments.transpose(2, 0, 1), data[:, some])
            sources[:, some] = (axes @ moments.transpose(0, 2, 1)).reshape(-1, len(some))

        batches = [loud[k : k + batch_size] for k in range(0, len(loud), batch_size)]
        with side_by_side() as n_threads, ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(solve, batches))
        field = gain @ sources
        size = np.sum(field * data, axis=0)
        size /= np.maximum(np.sum(field**2, axis=0), np.finfo(np.float32).tiny)
        sources *= np.maximum(size, 0)
        return sources

    def unlike_training(self, data: np.ndarray, *, noise_power: float = 1.0) -> list[str]:
        """Tell what is unlike the data that the network was trained on.

        Parameters
        ----------
        data : ndarray, shape (n_rank, n_times)
            Whitened data.
        noise_power : float
            Power of their noise.

        Returns
        -------
        warnings : list of str
            What it is and what it means, none if there is nothing.
        """
        power = np.mean(data**2, axis=0) / noise_power
        power = power[_heard(power)]
        texts = []
        if len(power) and np.median(power) < _QUIET:
            texts.append(
                f"The data have less than {_QUIET:g} times the power that noise has by noise_cov, "
                "so it is not theirs, and the estimates will be too blurred: pass the covariance "
                "of single trials, and an Evoked whose nave is right."
            )
        if power.max(initial=0) > _LOUD:
            texts.append(
                f"The data have more than {_LOUD:.0e} times the power of the noise, more than "
                "the network was trained on (30 dB): it may take errors of the head model for "
                "sources. Check the unit and the amount of noise_cov."
            )
        return texts


def _heard(power: np.ndarray) -> np.ndarray:
    """Samples that are not silent."""
    return np.flatnonzero(power > _SILENT * power.max(initial=0))


def source_axes(problem: InverseProblem) -> np.ndarray:
    """Directions of the components in the head frame, shape (n_locations, n_orient, 3)."""
    return problem.forward["source_nn"].reshape(-1, problem.n_orient, 3).astype(np.float32)


def free_gain(problem: InverseProblem) -> np.ndarray:
    """Gain of moments along x, y and z of the head frame, shape (n_rank, n_locations * 3)."""
    gain = problem.gain.reshape(len(problem.gain), -1, problem.n_orient)
    return np.einsum("mno,noi->mni", gain, source_axes(problem)).reshape(len(gain), -1)


@fill_doc
@verbose
def make_piunet(
    info: mne.Info,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    rank: dict | str | None = None,
    verbose=None,
) -> PIUNet:
    """Prepare a forward solution once, to use it on many recordings.

    Parameters
    ----------
    info : mne.Info
        Measurement info of the recordings.
    forward : mne.Forward
        Forward solution of any source space; sources are free unless it is fixed.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    model : str | path-like | Weights
        Name or file of a model, see :func:`mne_piunet.load_piunet`.
    backend : "auto" | "torch" | "onnxruntime"
        What runs the network.
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    operator : PIUNet
        The prepared operator, which can be pickled; pass it to :func:`apply_piunet` in the
        place of the forward solution.
    """
    weights = load_piunet(model)
    load_network(weights, backend)
    loose = 0.0 if is_fixed(forward) else 1.0
    problem = prepare_problem(info, forward, noise_cov, loose=loose, depth=None, rank=rank)
    problem = replace(problem, gain=problem.gain.astype(np.float32))
    positions = problem.forward["source_rr"]
    _check_domain(len(problem.gain), positions)
    free = problem.n_orient == 3
    physics = make_physics(
        free_gain(problem) if free else problem.gain,
        positions,
        None if free else source_axes(problem)[:, 0],
        side=weights.card["network"]["patch"],
        multiple=weights.multiple,
    )
    sharing = make_sharing(problem.gain, positions, physics.grid, physics.pursuit)
    logger.info("Prepared %s voxels of 7 mm for %s", len(physics.voxels), weights.name)
    return PIUNet(problem, physics, sharing, weights, backend)


def _check_domain(n_sensors: int, positions: np.ndarray) -> None:
    """Warn of forward solutions unlike those that the network was trained on."""
    if n_sensors < _FEW:
        warn(
            f"Only {n_sensors} independent sensors: the network was trained with 24 or more, and "
            "its estimates will be blurred and less certain."
        )
    side = np.ptp(positions, axis=0).max()
    if not _SMALL < side < _LARGE:
        warn(
            f"The sources span {100 * side:.0f} cm: the network was trained on whole brains of 10 "
            "to 20 cm, and activity elsewhere will be explained by the sources given."
        )
