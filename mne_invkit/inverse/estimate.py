"""What an estimate says of the data: residual, explained variance, dipoles."""

from __future__ import annotations

from collections.abc import Iterable

import mne
import numpy as np

from mne_invkit._docs import fill_doc
from mne_invkit.inverse.problem import Instance, InverseProblem


@fill_doc
def make_residual(
    problem: InverseProblem, amplitudes: Iterable[np.ndarray], active: np.ndarray | None = None
) -> Instance:
    """Data minus the field of the sources, all projectors applied.

    Parameters
    ----------
    %(problem)s
    amplitudes : iterable of ndarray, shape (n_active * n_orient, n_times)
        Amplitude of each component (A m), for one trial after the other.
    %(active)s

    Returns
    -------
    residual : Evoked | list of Evoked | Epochs | Raw
        Of the type of the data, with the channels used.
    """
    gain = problem.projector @ problem.forward["sol"]["data"][:, problem.columns(active)]
    fields = (gain @ amplitude for amplitude in amplitudes)
    names, residuals = problem.info["ch_names"], []
    for inst in problem.insts:
        residual = inst.copy() if isinstance(inst, mne.Evoked) else inst.copy().load_data()
        residual = residual.pick(names, verbose="error").apply_proj(verbose="error")
        rest = problem.projector @ residual.get_data()
        if isinstance(inst, mne.BaseEpochs):
            own = residual.get_data(copy=False)
            for trial, data, field in zip(own, rest, fields, strict=True):
                trial[:] = data - field
        elif isinstance(inst, mne.Evoked):
            residual.data = rest - next(fields)
        else:
            residual[:] = rest - next(fields)
        residuals.append(residual)
    return residuals if len(residuals) > 1 else residuals[0]


@fill_doc
def explained_variance(
    problem: InverseProblem, found: Iterable[np.ndarray], active: np.ndarray | None = None
) -> float:
    """Share of the whitened data that the sources explain, in percent.

    Parameters
    ----------
    %(problem)s
    found : iterable of ndarray, shape (n_active * n_orient, n_times)
        Components of each trial in the scale of ``problem.gain``.
    %(active)s

    Returns
    -------
    percent : float
        100 (1 - ||data - gain x||^2 / ||data||^2), as MNE's solvers log it.
    """
    gain = problem.gain[:, problem.columns(active)]
    pairs = zip(problem.data, found, strict=True)
    rest = sum(np.sum((data - gain @ trial) ** 2) for data, trial in pairs)
    power = np.sum(problem.data**2)
    return float(100 * (1 - rest / power)) if power > 0 else 0.0


@fill_doc
def make_dipoles(
    problem: InverseProblem,
    found: np.ndarray,
    n_dipoles: int = 10,
    *,
    trial: int = 0,
    active: np.ndarray | None = None,
) -> list[mne.Dipole]:
    """Sources as dipoles, those that explain most sensor variance first.

    Sensor variance and not amplitude ranks them, since deep and silent sources of free
    orientation get large amplitudes for little field.

    Parameters
    ----------
    %(problem)s
    found : ndarray, shape (n_active * n_orient, n_times)
        Components of one trial in the scale of ``problem.gain``.
    n_dipoles : int
        Maximum number of dipoles.
    trial : int
        The trial of the data that the sources explain.
    %(active)s

    Returns
    -------
    dipoles : list of mne.Dipole
        Fixed positions, orientation and amplitude over time; ``gof`` is the share of the
        whitened data that the dipole alone explains, in percent.
    """
    n_orient, positions = problem.n_orient, problem.forward["source_rr"]
    moments = found.reshape(-1, n_orient, found.shape[1])
    active = np.arange(len(moments)) if active is None else active
    loud = np.abs(moments).max(axis=(1, 2)) > 0
    active, moments = active[loud], moments[loud]
    gain = problem.gain[:, problem.columns(active)].reshape(len(problem.gain), -1, n_orient)
    fields = np.einsum("mno,not->nmt", gain, moments)
    order = np.argsort(-np.sum(fields**2, axis=(1, 2)))[:n_dipoles]
    power = np.maximum(np.sum(problem.data[trial] ** 2, axis=0), np.finfo(float).tiny)
    std = problem.std(active).reshape(-1, n_orient, 1)
    dipoles = []
    for k in order:
        moment = problem.axes[active[k]].T @ (std[k] * moments[k])
        amplitude = np.linalg.norm(moment, axis=0)
        rest = np.sum((problem.data[trial] - fields[k]) ** 2, axis=0)
        dipoles.append(
            mne.Dipole(
                problem.times,
                np.tile(positions[active[k]], (len(amplitude), 1)),
                amplitude,
                (moment / np.where(amplitude > 0, amplitude, 1)).T,
                np.clip(100 * (1 - rest / power), 0, 100),
            )
        )
    return dipoles
