"""A forward solution that is prepared for the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import mne
import numpy as np
from mne.utils import logger, verbose, warn

from mne_invkit._html import html_table
from mne_invkit._mne import is_fixed
from mne_invkit.inverse.files import Saved, pack_problem, read_parts, unpack, unpack_problem
from mne_invkit.inverse.problem import InverseProblem, prepare_problem
from mne_invkit.inverse.sensors import check_is_forward
from mne_piunet._docs import fill_doc
from mne_piunet.inference import (
    BACKENDS,
    Network,
    check_n_jobs,
    is_installed,
    run_side_by_side,
)
from mne_piunet.kernel.gather import Gather, make_gather
from mne_piunet.kernel.inputs import VoxelModel, make_voxel_model
from mne_piunet.packing import pack_kernel, unpack_gather, unpack_voxel_model
from mne_piunet.weights import Weights, list_models, load_piunet, sha256

_SILENT = 1e-12  # of the largest power of all samples; those below it stay zero
_FEW = 20  # sensors
_SMALL, _LARGE = 0.08, 0.24  # m, longest side of the box around the locations
_QUIET, _LOUD = 0.3, 1e4  # power of the data over that of the noise


@dataclass(frozen=True, eq=False)
class PIUNet(Saved):
    """A forward solution that is prepared for the network, for any number of recordings.

    Attributes
    ----------
    problem : InverseProblem
        Whitened gain, and what brings estimates back to MNE.
    voxel_model : VoxelModel
        Inputs of the network from data.
    gather : Gather
        Moments of locations from those of voxels.
    network : Network
        The network.
    n_jobs : int | None
        Number of threads, see :func:`make_piunet`.
    """

    file_kind = "PIUNet operator"
    problem: InverseProblem
    voxel_model: VoxelModel
    gather: Gather
    network: Network
    n_jobs: int | None = None

    @fill_doc
    def estimate(
        self,
        data: np.ndarray,
        *,
        noise_power: float = 1.0,
        batch_size: int = 16,
        n_jobs: int | None = None,
        on_batch: Callable[[int], object] | None = None,
    ) -> np.ndarray:
        """Estimate all components from whitened data, separately for each sample.

        Parameters
        ----------
        data : ndarray, shape (n_rank, n_times)
            Whitened data.
        noise_power : float
            Power of the noise in the data: 1 / nave for an average if the whitener is that of
            single trials.
        %(batch_size)s
        n_jobs : int | None
            Number of threads. None is that of the operator.
        on_batch : callable | None
            Called with the number of samples of each batch that is done, by the thread that did
            it.

        Returns
        -------
        found : ndarray of float32, shape (n_locations * n_orient, n_times)
            Components in the scale of ``problem.gain``. The network finds their proportions,
            and a least-squares fit to the data of each sample finds their size.
        """
        problem = self.problem
        axes = problem.axes.astype(np.float32)
        data = np.asarray(data, np.float32)
        found = np.zeros((problem.gain.shape[1], data.shape[1]), np.float32)
        loud = _loud_samples(np.sum(data**2, axis=0))

        def solve(some):
            inputs = self.voxel_model.inputs(data[:, some], noise_power=noise_power)
            output = self.network(inputs, self.voxel_model.blocks.places)
            moments = output[:, :3, self.voxel_model.columns].transpose(2, 0, 1)
            moments = self.gather.run(moments, data[:, some])
            found[:, some] = (axes @ moments.transpose(0, 2, 1)).reshape(-1, len(some))
            if on_batch is not None:
                on_batch(len(some))

        batches = [loud[k : k + batch_size] for k in range(0, len(loud), batch_size)]
        run_side_by_side(solve, batches, self.n_jobs if n_jobs is None else n_jobs)
        field = problem.gain @ found
        size = np.sum(field * data, axis=0)
        size /= np.maximum(np.sum(field**2, axis=0), np.finfo(np.float32).tiny)
        found *= np.maximum(size, 0)
        return found

    def unlike_training(self, data: np.ndarray, *, noise_power: float = 1.0) -> list[str]:
        """Tell how data differ from those that the network was trained on.

        Parameters
        ----------
        data : ndarray, shape (n_rank, n_times)
            Whitened data.
        noise_power : float
            Power of the noise in the data.

        Returns
        -------
        warnings : list of str
            Each difference and what it means; empty if there is none.
        """
        power = np.mean(data**2, axis=0) / noise_power
        power = power[_loud_samples(power)]
        texts = []
        if len(power) and np.median(power) < _QUIET:
            texts.append(
                f"The data have less than {_QUIET:g} times the power that noise_cov expects of "
                "noise alone, so it is not the covariance of their noise and the estimates will "
                "be too blurred: pass the covariance of single trials, and an Evoked whose nave "
                "is right."
            )
        if power.max(initial=0) > _LOUD:
            texts.append(
                f"The data have more than {_LOUD:.0e} times the power of the noise, more than "
                "the network was trained on (30 dB): it may take errors of the head model for "
                "sources. Check the unit and the size of noise_cov."
            )
        return texts

    def summary(self) -> dict[str, str]:
        """Return what it is prepared for in words, by name."""
        sizes = self.problem.summary()
        return {
            "Model": f"model {self.network.weights.name:.60} by {self.network.backend}",
            "Channels": sizes["Channels"],
            "Source space": sizes["Source space"],
            "Voxels": f"{len(self.voxel_model.voxels)} voxels",
        }

    def __repr__(self) -> str:
        return f"<PIUNet | {', '.join(self.summary().values())}>"

    def _repr_html_(self) -> str:
        return html_table([*self.summary().items(), *self.problem.settings.items()])

    def pack(self) -> dict:
        """Take it apart, all but the weights of the network, of which name and checksum are kept.

        Returns
        -------
        parts : dict
            Nested plain values and arrays.
        """
        weights = self.network.weights
        return {
            "problem": pack_problem(self.problem),
            "voxel_model": pack_kernel(self.voxel_model),
            "gather": pack_kernel(self.gather),
            "model": weights.name,
            "sha256": sha256(weights.path),
            "backend": self.network.backend,
            "n_jobs": self.n_jobs,
        }


def _loud_samples(power: np.ndarray) -> np.ndarray:
    """Find the samples that are not silent."""
    return np.flatnonzero(power > _SILENT * power.max(initial=0))


def xyz_gain(problem: InverseProblem) -> np.ndarray:
    """Turn the gain of a problem to moments along x, y and z of the head frame.

    Parameters
    ----------
    problem : InverseProblem
        The problem.

    Returns
    -------
    gain : ndarray, shape (n_rank, n_locations * 3)
        The gain.
    """
    axes = problem.axes.astype(np.float32)
    gain = problem.gain.reshape(len(problem.gain), *axes.shape[:2])
    return np.einsum("mno,noi->mni", gain, axes).reshape(len(gain), -1)


@verbose
@fill_doc
def make_piunet(
    info: mne.Info,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    n_jobs: int | None = None,
    rank: dict | str | None = None,
    verbose=None,
) -> PIUNet:
    """Prepare a forward solution once, to use it on many recordings.

    Parameters
    ----------
    info : mne.Info
        Measurement info of the recordings.
    forward : mne.Forward
        Forward solution of any source space. Orientations are free unless it is fixed.
    %(noise)s
    %(model)s
    %(backend)s
    %(n_jobs)s
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    operator : PIUNet
        The prepared operator, which can be pickled, or saved with ``operator.save("operator.h5")``.
        Pass it to :func:`mne_piunet.apply_piunet` in the place of the forward solution.

    Examples
    --------
    >>> from mne_piunet import apply_piunet, make_piunet
    >>> operator = make_piunet(evoked.info, forward, noise_cov)  # doctest: +SKIP
    >>> stc = apply_piunet(evoked, operator)  # doctest: +SKIP
    """
    check_n_jobs(n_jobs)
    check_is_forward(forward)
    weights = load_piunet(model)
    network = Network(weights, backend)
    loose = 0.0 if is_fixed(forward) else 1.0
    problem = prepare_problem(info, forward, noise_cov, loose=loose, depth=None, rank=rank)
    if len(problem.gain) < problem.n_orient:
        raise ValueError(
            f"There are only {len(problem.gain)} independent sensors, and the network needs 3: "
            "pass more channels, or a higher rank."
        )
    problem = replace(
        problem,
        gain=problem.gain.astype(np.float32),
        source_std=problem.source_std.astype(np.float32),
    )
    positions = problem.forward["source_rr"]
    _check_domain(len(problem.gain), positions)
    begin = perf_counter()
    free = problem.n_orient == 3
    voxel_model = make_voxel_model(
        xyz_gain(problem) if free else problem.gain,
        positions,
        None if free else problem.axes[:, 0].astype(np.float32),
        block_side=weights.block_side,
        multiple=weights.multiple,
    )
    gather = make_gather(problem.gain, positions, voxel_model.grid, voxel_model.pursuit)
    logger.debug(
        "Prepared %d voxels, of a grid of %s, in %d blocks and %.1f s",
        len(voxel_model.voxels), voxel_model.grid.shape, voxel_model.blocks.voxels.shape[1],
        perf_counter() - begin,
    )  # fmt: skip
    operator = PIUNet(problem, voxel_model, gather, network, n_jobs)
    logger.info("Prepared %s", operator)
    return operator


def _check_domain(n_sensors: int, positions: np.ndarray) -> None:
    """Warn of forward solutions unlike those that the network was trained on."""
    if n_sensors < _FEW:
        warn(
            f"There are only {n_sensors} independent sensors. The network was trained with 24 or "
            "more, so its estimates will be blurred and less certain."
        )
    width = np.ptp(positions, axis=0).max()
    if not _SMALL < width < _LARGE:
        warn(
            f"The source space spans {100 * width:.0f} cm. The network was trained on whole brains "
            "of 10 to 20 cm, and will attribute activity from elsewhere to these locations."
        )


@verbose
@fill_doc
def read_piunet(
    fname: str | Path,
    *,
    model: str | Path | Weights | None = None,
    backend: str = "auto",
    n_jobs: int | None = None,
    verbose=None,
) -> PIUNet:
    """Read a prepared operator that :meth:`PIUNet.save` wrote.

    Parameters
    ----------
    fname : path-like
        File name.
    model : str | path-like | Weights | None
        The model, if it is not one that comes with the package: its ``.safetensors`` file. It must
        have the weights with which the operator was prepared.
    backend : "auto" | "torch" | "onnxruntime"
        Library that runs the network. "auto" takes that of the operator if it is installed.
    n_jobs : int | None
        Number of threads, as in joblib. None is that of the operator.
    %(verbose)s

    Returns
    -------
    operator : PIUNet
        The operator.

    Raises
    ------
    ValueError
        If the file is damaged, is of a newer version or was prepared with other weights.

    Examples
    --------
    >>> operator.save("operator.h5")  # doctest: +SKIP
    >>> stc = apply_piunet(evoked, read_piunet("operator.h5"))  # doctest: +SKIP
    """
    check_n_jobs(n_jobs)
    kind, parts = read_parts(fname)
    if kind != PIUNet.file_kind:
        raise ValueError(f"{fname} holds {kind!r}, no operator: read it with read_result.")

    *prepared, name, checksum, used, threads = unpack(fname, _unpack, parts)
    if model is None and name not in list_models():
        raise ValueError(
            f"{fname} was prepared with the model {name!r}, which does not come with the package: "
            'pass its weights, read_piunet(fname, model="....safetensors").'
        )
    weights = load_piunet(name if model is None else model)
    if sha256(weights.path) != checksum:
        raise ValueError(
            f"{fname} was prepared with the model {name!r}, and {weights.path} has other weights: "
            "pass the file of that model, or prepare the operator again with make_piunet."
        )
    if backend == "auto" and used in BACKENDS and is_installed(used):
        backend = used
    return PIUNet(*prepared, Network(weights, backend), threads if n_jobs is None else n_jobs)


def _unpack(parts: dict) -> tuple:
    """Make the parts of an operator again; of the network, its model, checksum and backend."""
    return (
        unpack_problem(parts["problem"]),
        unpack_voxel_model(parts["voxel_model"]),
        unpack_gather(parts["gather"]),
        *(parts[name] for name in ("model", "sha256", "backend", "n_jobs")),
    )
