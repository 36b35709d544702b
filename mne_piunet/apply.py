"""3D-PIUNet on MNE objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
from mne.utils import fill_doc, verbose, warn

from mne_invkit.inverse import checks
from mne_invkit.inverse.priors import check_pick_ori
from mne_invkit.inverse.problem import Instance, InverseProblem
from mne_invkit.inverse.result import InverseResult, make_result
from mne_invkit.inverse.stc import make_stc
from mne_invkit.solvers.registry import Solver
from mne_piunet.operator import BATCH, PIUNet, make_piunet
from mne_piunet.weights import Weights


@fill_doc
@verbose
def fit_piunet(
    evoked: Instance,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
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
    model : str | path-like | Weights
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
    size, info = _batch_size(batch_size), checks.check_instances(evoked)[0].info
    operator = _prepared(info, forward, noise_cov, model, backend, rank)
    check_pick_ori(pick_ori, operator.problem.forward)
    problem = operator.problem.with_data(evoked)
    sources = np.stack([found for _, found in _sources(operator, [problem], size)])
    settings = {"model": operator.weights.name, "backend": operator.backend, "pick_ori": pick_ori}
    return make_result(problem, sources, module=__name__, pick_ori=pick_ori, settings=settings)


@fill_doc
@verbose
def apply_piunet(
    evoked: Instance,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
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
    model : str | path-like | Weights
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
    apply_piunet_epochs : One epoch after the other.
    apply_piunet_raw : Continuous data.

    Examples
    --------
    >>> from mne_invkit import load_sep
    >>> from mne_invkit import template_forward
    >>> from mne_piunet import apply_piunet
    >>> sep = load_sep(verbose=False)
    >>> forward = template_forward(sep.evoked.info, spacing="ico3", verbose=False)
    >>> evoked = sep.evoked.copy().crop(0.02, 0.03)
    >>> apply_piunet(evoked, forward, sep.noise_cov, verbose=False)  # doctest: +SKIP
    <SourceEstimate | 1216 vertices, subject : fsaverage5, ...>
    """
    size, info = _batch_size(batch_size), checks.check_instances(evoked)[0].info
    operator = _prepared(info, forward, noise_cov, model, backend, rank)
    check_pick_ori(pick_ori, operator.problem.forward)
    stcs = list(_stcs(operator, [operator.problem.with_data(evoked)], size, pick_ori))
    return stcs if len(stcs) > 1 else stcs[0]


@fill_doc
@verbose
def apply_piunet_epochs(
    epochs: mne.BaseEpochs,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    return_generator: bool = False,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int | str = "auto",
    rank: dict | str | None = None,
    verbose=None,
) -> list | Iterator:
    """Estimate the sources of each epoch by 3D-PIUNet.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        The epochs; those on disk are read one after the other.
    forward : mne.Forward | PIUNet
        Forward solution of any source space, or the operator that :func:`make_piunet` prepared.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    return_generator : bool
        Return a generator, which keeps one estimate at a time in memory, and not a list.
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    model : str | path-like | Weights
        Name or file of a model.
    backend : "auto" | "torch" | "onnxruntime"
        What runs the network.
    batch_size : int | "auto"
        Time samples that pass the network together.
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    stcs : list of SourceEstimate | generator
        One estimate (A m) for each epoch.

    See Also
    --------
    apply_piunet : For Evoked, and for Epochs as a list.
    """
    if not isinstance(epochs, mne.BaseEpochs):
        raise TypeError(
            f"epochs must be mne.Epochs, got {type(epochs).__name__}: use apply_piunet or "
            "apply_piunet_raw."
        )
    size = _batch_size(batch_size)
    operator = _prepared(epochs.info, forward, noise_cov, model, backend, rank)
    check_pick_ori(pick_ori, operator.problem.forward)
    checks.check_instances(epochs)

    problems = (operator.problem.with_data(epochs[k]) for k in range(len(epochs)))
    stcs = _stcs(operator, problems, size, pick_ori)
    return stcs if return_generator else list(stcs)


@fill_doc
@verbose
def apply_piunet_raw(
    raw: mne.io.BaseRaw,
    forward: mne.Forward | PIUNet,
    noise_cov: mne.Covariance | None = None,
    *,
    start: int | None = None,
    stop: int | None = None,
    buffer_size: int = 1000,
    pick_ori: str | None = None,
    model: str | Path | Weights = "default",
    backend: str = "auto",
    batch_size: int | str = "auto",
    rank: dict | str | None = None,
    verbose=None,
):
    """Estimate the sources of continuous data by 3D-PIUNet.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The data; those on disk are read buffer by buffer.
    forward : mne.Forward | PIUNet
        Forward solution of any source space, or the operator that :func:`make_piunet` prepared.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial. None takes an ad hoc one, for a single sensor type.
    start, stop : int | None
        First sample, and the one after the last, from the beginning of `raw`.
    buffer_size : int
        Samples that are read and solved at a time; the result does not depend on it.
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    model : str | path-like | Weights
        Name or file of a model.
    backend : "auto" | "torch" | "onnxruntime"
        What runs the network.
    batch_size : int | "auto"
        Time samples that pass the network together.
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    stc : SourceEstimate
        Estimate in A m.

    See Also
    --------
    apply_piunet : For Evoked.
    """
    if not isinstance(raw, mne.io.BaseRaw):
        raise TypeError(f"raw must be mne.io.Raw, got {type(raw).__name__}: use apply_piunet.")
    first, last, _ = slice(start, stop).indices(len(raw.times))
    if first >= last:
        raise ValueError(f"There is no sample from {start} to {stop}: raw has {len(raw.times)}.")
    if buffer_size < 1:
        raise ValueError(f"buffer_size must be at least 1, got {buffer_size}.")
    size = _batch_size(batch_size)
    operator = _prepared(raw.info, forward, noise_cov, model, backend, rank)
    check_pick_ori(pick_ori, operator.problem.forward)
    names = operator.problem.info["ch_names"]
    checks.check_channels((raw,), names)

    def problems():
        for begin in range(first, last, buffer_size):
            end = min(begin + buffer_size, last)
            data = raw.get_data(picks=names, start=begin, stop=end)
            part = mne.io.RawArray(data, operator.problem.info, verbose="error")
            yield replace(operator.problem.with_data(part), times=raw.times[begin:end])

    parts = list(_stcs(operator, problems(), size, pick_ori))
    whole = parts[0]
    data = np.concatenate([part.data for part in parts], axis=-1)
    return type(whole)(data, whole.vertices, whole.tmin, 1 / raw.info["sfreq"], whole.subject)


def _prepared(info, forward, noise_cov, model, backend, rank) -> PIUNet:
    """Prepare a forward solution that is not yet."""
    if isinstance(forward, PIUNet):
        return forward
    return make_piunet(info, forward, noise_cov, model=model, backend=backend, rank=rank)


def _batch_size(batch_size: int | str) -> int:
    if batch_size == "auto":
        return BATCH
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f'batch_size must be "auto" or at least 1, got {batch_size!r}.')
    return int(batch_size)


def _sources(
    operator: PIUNet, problems: Iterable[InverseProblem], batch_size: int
) -> Iterator[tuple[InverseProblem, np.ndarray]]:
    """Each trial's problem and sources, in the scale of the gain; warns once of a thing."""
    told = set()
    for problem in problems:
        naves = [inst.nave for inst in problem.insts if isinstance(inst, mne.Evoked)]
        for data, nave in zip(problem.data, naves or [1] * len(problem.data), strict=True):
            for text in operator.unlike_training(data, noise_power=1 / nave):
                if text not in told:
                    warn(text)
                told.add(text)
            yield problem, operator.estimate(data, noise_power=1 / nave, batch_size=batch_size)


def _stcs(
    operator: PIUNet, problems: Iterable[InverseProblem], batch_size: int, pick_ori: str | None
) -> Iterator:
    """Source estimate of each trial."""
    std = operator.problem.source_std[:, None].astype(np.float32)
    for problem, sources in _sources(operator, problems, batch_size):
        sources *= std
        yield make_stc(problem, sources, pick_ori=pick_ori)


SOLVER = Solver(
    name="piunet",
    fit=fit_piunet,
    description="Learned correction of what physics finds (3D-PIUNet)",
    needs=("torch", "onnxruntime"),
)
