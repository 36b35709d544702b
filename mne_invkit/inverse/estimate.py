"""From arrays of sources back to MNE: estimates, residuals, dipoles."""

from __future__ import annotations

from collections.abc import Iterable

import mne
import numpy as np

from mne_invkit.inverse.problem import InverseProblem

_CLASSES = {
    ("surface", False): mne.SourceEstimate,
    ("surface", True): mne.VectorSourceEstimate,
    ("volume", False): mne.VolSourceEstimate,
    ("volume", True): mne.VolVectorSourceEstimate,
    ("discrete", False): mne.VolSourceEstimate,
    ("discrete", True): mne.VolVectorSourceEstimate,
    ("mixed", False): mne.MixedSourceEstimate,
    ("mixed", True): mne.MixedVectorSourceEstimate,
}


def check_pick_ori(pick_ori: str | None, problem: InverseProblem) -> None:
    """Raise if the source space cannot give the orientation asked for."""
    if pick_ori not in (None, "normal", "vector"):
        raise ValueError(f'pick_ori must be None, "normal" or "vector", got {pick_ori!r}.')
    kind = problem.forward["src"].kind
    if pick_ori == "normal" and kind not in ("surface", "discrete"):
        raise ValueError(
            f'pick_ori="normal" needs sources with a normal, but the source space is {kind}: '
            'pass pick_ori=None (magnitude) or "vector".'
        )
    if pick_ori == "vector" and problem.n_orient == 1:
        raise ValueError(
            'pick_ori="vector" cannot be had from fixed orientations: pass loose="auto" with the '
            "free-orientation forward solution, or pick_ori=None."
        )


def make_stc(
    problem: InverseProblem, amplitude: np.ndarray, *, pick_ori: str | None = None,
    sparse: bool = False, active: np.ndarray | None = None,
):  # fmt: skip
    """Put amplitudes into the source estimate class that the source space asks for.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem.
    amplitude : ndarray, shape (n_active * n_orient, n_times)
        Amplitude of each component in A m.
    pick_ori : None | "normal" | "vector"
        Magnitude (signed when the orientation is fixed), component along the normal, or
        vectors.
    sparse : bool
        Keep only the locations that are not zero throughout.
    active : ndarray of int, shape (n_active,) | None
        Locations that have amplitudes, in ascending order; the others are zero. None for all.

    Returns
    -------
    stc : SourceEstimate
        One of MNE's six classes.
    """
    check_pick_ori(pick_ori, problem)
    n_orient = problem.n_orient
    vectors = amplitude.reshape(-1, n_orient, amplitude.shape[-1])
    active = np.arange(problem.forward["nsource"]) if active is None else active
    if pick_ori == "vector":
        axes = problem.forward["source_nn"].reshape(-1, n_orient, 3)[active]
        data = np.einsum("noi,not->nit", axes, vectors)
    elif n_orient == 1:
        data = vectors[:, 0]
    elif pick_ori == "normal":
        data = vectors[:, 2]
    else:
        data = np.sqrt(np.einsum("not,not->nt", vectors, vectors))
    if sparse:
        loud = np.abs(vectors).max(axis=(1, 2)) > 0
        active, data = active[loud], data[loud]
    return place_data(problem, data, active, vector=pick_ori == "vector", sparse=sparse)


def place_data(
    problem: InverseProblem, data: np.ndarray, active: np.ndarray, *, vector: bool = False,
    sparse: bool = False,
):  # fmt: skip
    """Put what is known of some locations into a source estimate.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem.
    data : ndarray, shape (n_active, n_times) | (n_active, 3, n_times)
        Values of the locations.
    active : ndarray of int, shape (n_active,)
        The locations, in ascending order.
    vector : bool
        Whether the values are vectors.
    sparse : bool
        Leave out the other locations, which are zero otherwise.

    Returns
    -------
    stc : SourceEstimate
        One of MNE's six classes.
    """
    src = problem.forward["src"]
    n_locations = problem.forward["nsource"]
    keep = np.isin(np.arange(n_locations), active) if sparse else np.ones(n_locations, bool)
    if len(data) < np.count_nonzero(keep):
        whole = np.zeros((n_locations, *data.shape[1:]))
        whole[active] = data
        data = whole
    counts = np.cumsum([len(s["vertno"]) for s in src])[:-1]
    vertices = [s["vertno"][k] for s, k in zip(src, np.split(keep, counts), strict=True)]
    info = problem.insts[0].info if problem.insts else problem.info
    return _CLASSES[src.kind, vector](
        data, vertices, tmin=problem.times[0], tstep=1 / info["sfreq"],
        subject=src[0].get("subject_his_id"),
    )  # fmt: skip


def make_residual(problem: InverseProblem, amplitude: np.ndarray, active: np.ndarray | None = None):
    """Data minus the field of the sources, all projectors applied.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem.
    amplitude : ndarray, shape (n_trials, n_active * n_orient, n_times)
        Amplitude of each component in A m.
    active : ndarray of int, shape (n_active,) | None
        Locations that have amplitudes, None for all.

    Returns
    -------
    residual : Evoked | list of Evoked | Epochs | Raw
        Of the type of the data, with the channels used.
    """
    gain = problem.projector @ problem.forward["sol"]["data"][:, _columns(problem, active)]
    fields = gain @ amplitude
    names = problem.info["ch_names"]
    residuals = []
    for k, inst in enumerate(problem.insts):
        residual = inst.copy() if isinstance(inst, mne.Evoked) else inst.copy().load_data()
        residual = residual.pick(names, verbose="error").apply_proj(verbose="error")
        is_epochs = isinstance(inst, mne.BaseEpochs)
        rest = problem.projector @ residual.get_data() - (fields if is_epochs else fields[k])
        if is_epochs:
            residual = mne.EpochsArray(
                rest, residual.info, inst.events, inst.tmin, inst.event_id, on_missing="ignore",
                baseline=None, proj=False, metadata=inst.metadata, selection=inst.selection,
                drop_log=inst.drop_log, verbose="error",
            )  # fmt: skip
        elif isinstance(inst, mne.Evoked):
            residual.data = rest
        else:
            residual[:] = rest
        residuals.append(residual)
    return residuals if len(residuals) > 1 else residuals[0]


def _columns(problem: InverseProblem, active: np.ndarray | None):
    """Columns of the gain that belong to locations."""
    if active is None:
        return slice(None)
    return (problem.n_orient * active[:, None] + np.arange(problem.n_orient)).ravel()


def explained_variance(
    problem: InverseProblem, sources: Iterable[np.ndarray], active: np.ndarray | None = None
) -> float:
    """Share of the whitened data that the sources explain, in percent.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem.
    sources : iterable of ndarray, shape (n_active * n_orient, n_times)
        Sources of each trial in the scale of ``problem.gain``.
    active : ndarray of int, shape (n_active,) | None
        Locations of the sources, None for all.

    Returns
    -------
    percent : float
        100 (1 - ||data - gain sources||^2 / ||data||^2), as MNE's solvers log it.
    """
    gain = problem.gain[:, _columns(problem, active)]
    pairs = zip(problem.data, sources, strict=True)
    rest = sum(np.sum((data - gain @ trial) ** 2) for data, trial in pairs)
    power = np.sum(problem.data**2)
    return float(100 * (1 - rest / power)) if power > 0 else 0.0


def make_dipoles(
    problem: InverseProblem, sources: np.ndarray, n_dipoles: int = 10, *, trial: int = 0,
    active: np.ndarray | None = None,
) -> list[mne.Dipole]:  # fmt: skip
    """Sources as dipoles, those that explain most sensor variance first.

    Sensor variance and not amplitude ranks them, since deep and silent sources of free
    orientation get large amplitudes for little field.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem.
    sources : ndarray, shape (n_active * n_orient, n_times)
        Sources of one trial in the scale of ``problem.gain``.
    n_dipoles : int
        At most so many.
    trial : int
        The trial of the data that the sources explain.
    active : ndarray of int, shape (n_active,) | None
        Locations of the sources, None for all.

    Returns
    -------
    dipoles : list of mne.Dipole
        Fixed positions, orientation and amplitude over time; ``gof`` is the share of the
        whitened data that the dipole alone explains, in percent.
    """
    n_orient, forward = problem.n_orient, problem.forward
    moments = sources.reshape(-1, n_orient, sources.shape[1])
    active = np.arange(len(moments)) if active is None else active
    loud = np.abs(moments).max(axis=(1, 2)) > 0
    active, moments = active[loud], moments[loud]
    gain = problem.gain[:, _columns(problem, active)].reshape(len(problem.gain), -1, n_orient)
    fields = np.einsum("mno,not->nmt", gain, moments)
    order = np.argsort(-np.sum(fields**2, axis=(1, 2)))[:n_dipoles]
    power = np.maximum(np.sum(problem.data[trial] ** 2, axis=0), np.finfo(float).tiny)
    axes = forward["source_nn"].reshape(-1, n_orient, 3)
    dipoles = []
    for k in order:
        location = active[k]
        std = problem.source_std.reshape(-1, n_orient)[location]
        moment = axes[location].T @ (std[:, None] * moments[k])
        amplitude = np.linalg.norm(moment, axis=0)
        rest = np.sum((problem.data[trial] - fields[k]) ** 2, axis=0)
        dipoles.append(
            mne.Dipole(
                problem.times,
                np.tile(forward["source_rr"][location], (len(amplitude), 1)),
                amplitude,
                (moment / np.where(amplitude > 0, amplitude, 1)).T,
                np.clip(100 * (1 - rest / power), 0, 100),
            )
        )
    return dipoles
