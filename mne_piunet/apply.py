"""3D-PIUNet on MNE objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
from mne.utils import fill_doc, logger, verbose, warn

from mne_invkit.estimate import InverseResult, check_pick_ori, make_result
from mne_invkit.problem import Instance, InverseProblem, prepare_problem
from mne_piunet.inference import load_network
from mne_piunet.physics import Physics, make_physics
from mne_piunet.weights import Weights, load_piunet

_BATCH = 16
_SILENT = 1e-12  # of the data's largest power: samples that are left at zero
_FEW = 20  # sensors


@dataclass(frozen=True, eq=False)
class PIUNet:
    """A forward solution prepared for the network, to be used on any number of recordings.

    Attributes
    ----------
    problem : InverseProblem
        Whitened gain and what is needed to bring estimates back to MNE.
    physics : Physics
        Pseudo-inverses on the voxel grid.
    weights : Weights
        The model.
    backend : str
        What runs the network.
    """

    problem: InverseProblem
    physics: Physics
    weights: Weights
    backend: str = "auto"

    def estimate(self, data: np.ndarray, *, noise_power: float = 1.0, batch_size: int = _BATCH):
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
        problem, grid = self.problem, self.physics.grid
        axes = _axes(problem)
        sources = np.zeros((problem.gain.shape[1], data.shape[1]), np.float32)
        power = np.sum(data**2, axis=0)
        loud = np.flatnonzero(power > _SILENT * power.max(initial=0))
        for start in range(0, len(loud), batch_size):
            some = loud[start : start + batch_size]
            moments = network(self.physics.inputs(data[:, some], noise_power=noise_power))
            moments = grid.gather @ moments.reshape(3 * len(some), -1).T
            moments = moments.reshape(len(axes), len(some), 3)
            sources[:, some] = np.einsum("noi,nti->not", axes, moments).reshape(-1, len(some))
            field = problem.gain @ sources[:, some]
            power = np.maximum(np.sum(field**2, axis=0), np.finfo(float).tiny)
            size = np.sum(field * data[:, some], axis=0) / power
            sources[:, some] *= np.maximum(size, 0)
        return sources


def _naves(problem: InverseProblem) -> list[float]:
    """Number of averages of each trial."""
    evokeds = [inst.nave for inst in problem.insts if isinstance(inst, mne.Evoked)]
    return evokeds or [1] * len(problem.data)


def _axes(problem: InverseProblem) -> np.ndarray:
    """Directions of the components in the head frame, shape (n_locations, n_orient, 3)."""
    return problem.forward["source_nn"].reshape(-1, problem.n_orient, 3).astype(np.float32)


@fill_doc
@verbose
def make_piunet(
    info: mne.Info,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    model: str | Path = "default",
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
    model : str | path-like
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
    loose = 0.0 if forward["source_ori"] == 1 else 1.0  # FIFFV_MNE_FIXED_ORI
    problem = prepare_problem(info, forward, noise_cov, loose=loose, depth=None, rank=rank)
    n_sensors = len(problem.gain)
    if n_sensors < _FEW:
        warn(
            f"Only {n_sensors} independent sensors: the network was trained with 24 or more, and "
            "its estimates will be blurred and less certain."
        )
    positions = problem.forward["source_rr"]
    axes = _axes(problem)
    if problem.n_orient == 3:
        gain = np.einsum("mno,noi->mni", problem.gain.reshape(n_sensors, -1, 3), axes)
        physics = make_physics(gain.reshape(n_sensors, -1), positions, multiple=weights.multiple)
    else:
        physics = make_physics(problem.gain, positions, axes[:, 0], multiple=weights.multiple)
    logger.info("Prepared %s voxels of 7 mm for %s", len(physics.voxels), weights.name)
    return PIUNet(problem, physics, weights, backend)


@fill_doc
@verbose
def fit_piunet(
    evoked: Instance,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    pick_ori: str | None = None,
    model: str | Path = "default",
    backend: str = "auto",
    batch_size: int | str = "auto",
    rank: dict | str | None = None,
    verbose=None,
) -> InverseResult:
    """Estimate sources by 3D-PIUNet, with residual and explained variance.

    Parameters
    ----------
    evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data; every time sample is solved by itself.
    forward : mne.Forward | PIUNet
        Forward solution of any source space, or the operator that :func:`make_piunet` prepared
        from it; then `noise_cov`, `model`, `backend` and `rank` are those of the operator.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    model : str | path-like
        Name or file of a model, see :func:`mne_piunet.load_piunet`.
    backend : "auto" | "torch" | "onnxruntime"
        What runs the network.
    batch_size : int | "auto"
        Time samples that pass the network together.
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    result : InverseResult
        Estimate in A m: the network tells its shape, and a least-squares fit to each sample of
        the data its size.

    See Also
    --------
    apply_piunet : Returns the estimate alone.

    References
    ----------
    Morik, M. et al. (2024). Enhancing brain source reconstruction by initializing 3-D neural
    networks with physical inverse solutions. arXiv:2411.00143.
    """
    operator = forward
    if not isinstance(forward, PIUNet):
        info = (evoked[0] if isinstance(evoked, (list, tuple)) and evoked else evoked).info
        operator = make_piunet(info, forward, noise_cov, model=model, backend=backend, rank=rank)
    check_pick_ori(pick_ori, operator.problem)
    problem = operator.problem.with_data(evoked)
    size = _BATCH if batch_size == "auto" else batch_size
    sources = np.stack(
        [
            operator.estimate(data, noise_power=1 / nave, batch_size=size)
            for data, nave in zip(problem.data, _naves(problem), strict=True)
        ]
    )
    settings = {"model": operator.weights.name, "backend": operator.backend, "pick_ori": pick_ori}
    return make_result(problem, sources, pick_ori=pick_ori, settings=settings)


@fill_doc
@verbose
def apply_piunet(
    evoked: Instance,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    pick_ori: str | None = None,
    model: str | Path = "default",
    backend: str = "auto",
    batch_size: int | str = "auto",
    rank: dict | str | None = None,
    verbose=None,
):
    """Estimate sources by 3D-PIUNet, a learned inverse solution for any head and montage.

    Parameters
    ----------
    evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data; every time sample is solved by itself.
    forward : mne.Forward | PIUNet
        Forward solution of any source space, or the operator that :func:`make_piunet` prepared.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    model : str | path-like
        Name or file of a model.
    backend : "auto" | "torch" | "onnxruntime"
        What runs the network.
    batch_size : int | "auto"
        Time samples that pass the network together.
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    stc : SourceEstimate | list of SourceEstimate
        Estimate in A m, of the class that the source space and `pick_ori` ask for; a list
        for a list of Evoked or for Epochs.

    See Also
    --------
    fit_piunet : Also returns residual and explained variance.
    """
    return fit_piunet(
        evoked, forward, noise_cov, pick_ori=pick_ori, model=model, backend=backend,
        batch_size=batch_size, rank=rank,
    ).stc  # fmt: skip
