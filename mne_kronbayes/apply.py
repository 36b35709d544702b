"""Hierarchical sparse Bayesian learning on MNE objects."""

from __future__ import annotations

from inspect import signature
from numbers import Integral
from typing import Any

import mne
import numpy as np
from mne.utils import logger, verbose, warn

from mne_invkit._progress import progress_bar
from mne_invkit._threads import one_thread
from mne_invkit.inverse.instances import check_instances, good_samples
from mne_invkit.inverse.priors import check_pick_ori, check_pick_ori_name, depth_options
from mne_invkit.inverse.problem import Instance, InverseProblem, prepare_problem
from mne_invkit.inverse.stc import Estimate
from mne_invkit.inverse.values import check_amplitudes
from mne_invkit.solvers.registry import Solver
from mne_kronbayes._docs import fill_doc
from mne_kronbayes.kernel.families import ROWS_PER_COMPONENT
from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.options import check_options
from mne_kronbayes.kernel.result import DughResult
from mne_kronbayes.noise_epochs import noise_autocovariance
from mne_kronbayes.result import KronBayesResult
from mne_kronbayes.windows import learning_windows

_TOO_SHORT = (
    "The data have one time sample, too few to learn from: pass a longer window with "
    "evoked.crop(tmin, tmax), or the uncropped data."
)


@verbose
@fill_doc
def fit_kron_bayes(
    evoked: Instance,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    temporal: str = "toeplitz",
    noise: str = "diagonal",
    noise_temporal: str | np.ndarray | mne.BaseEpochs = "shared",
    learn_orient: bool = False,
    occam: float = 1.0,
    select: bool = False,
    loose: float | str | dict = "auto",
    depth: float | dict | None = 0.8,
    max_iter: int = 200,
    tol: float = 1e-5,
    buffer_size: int = 1000,
    sparse: bool = False,
    rank: dict | str | None = None,
    pick_ori: str | None = None,
    on_interrupt: str = "raise",
    verbose=None,
) -> KronBayesResult:
    """Estimate sources, their temporal covariance and the noise by Dugh.

    Parameters
    ----------
    evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data. Several Evokeds (conditions), the trials of Epochs, or the windows of Raw are
        solved jointly: they share sources, temporal covariance and noise.
    %(fwd)s
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial, where learning starts (and ends, with
        ``noise="fixed"``). None takes an ad hoc one, for a single sensor type.
    %(temporal)s
    %(noise_model)s
    %(noise_temporal)s
    %(learn_orient)s
    %(occam)s
    %(select)s
    %(loose)s
    %(depth_sparse)s
    %(max_iter)s
    %(tol)s
    %(buffer_size)s
    %(sparse)s
    %(rank_none)s
    %(ori)s
    on_interrupt : "raise" | "keep"
        What Ctrl-C does while learning: raise KeyboardInterrupt, or return what was learned so
        far.
    %(verbose)s

    Returns
    -------
    result : KronBayesResult
        Estimate, everything learned, and the cost of each sweep.

    See Also
    --------
    apply_kron_bayes : Returns the estimate alone.
    mne.inverse_sparse.gamma_map : Sparse Bayesian learning with fixed noise, white in time.

    Notes
    -----
    While it learns, linear algebra runs in one thread: with several, its many small products take
    longer.

    References
    ----------
    Hashemi, A., Gao, Y., Cai, C., Ghosh, S., Müller, K.-R., Nagarajan, S. S. & Haufe, S.
    (2021). Efficient hierarchical Bayesian inference for spatio-temporal regression models
    in neuroimaging. NeurIPS 34, arXiv:2111.01692.

    Examples
    --------
    >>> from mne_invkit import load_sep, template_forward
    >>> from mne_kronbayes import fit_kron_bayes
    >>> sep = load_sep(verbose=False)
    >>> forward = template_forward(sep.evoked.info, spacing="ico3", verbose=False)
    >>> evoked = sep.evoked.copy().crop(0.02, 0.04)
    >>> result = fit_kron_bayes(evoked, forward, sep.noise_cov, verbose=False)
    >>> result.explained_variance > 95
    True
    """
    baseline = noise_temporal if isinstance(noise_temporal, mne.BaseEpochs) else None
    options = {
        "temporal": temporal, "noise": noise, "occam": occam, "max_iter": max_iter, "tol": tol,
        "on_interrupt": on_interrupt, "learn_orient": learn_orient, "select": select,
        "noise_temporal": "white" if baseline is not None else noise_temporal,
    }  # fmt: skip
    check_settings(**options, buffer_size=buffer_size, depth=depth)
    if len(check_instances(evoked)[0].times) < 2:
        raise ValueError(_TOO_SHORT)
    check_pick_ori(pick_ori, forward, loose)
    problem = prepare_problem(evoked, forward, noise_cov, loose=loose, depth=depth, rank=rank)
    windows = learning_windows(problem, buffer_size)
    size = windows.shape[2]
    _check_windows(windows, problem, temporal)
    settings = {
        **problem.settings, **options, "buffer_size": buffer_size, "sparse": sparse,
        "pick_ori": pick_ori,
    }  # fmt: skip
    if baseline is not None:
        settings["noise_temporal"] = repr(baseline)
        options["noise_temporal"] = noise_autocovariance(baseline, problem, size)
    elif not isinstance(noise_temporal, str):
        settings["noise_temporal"] = np.array(noise_temporal)
    learned = _learn(windows, problem, options)
    result = KronBayesResult(problem, learned, settings)
    _judge(result)
    return result


def _check_windows(windows: np.ndarray, problem: InverseProblem, temporal) -> None:
    """Are there enough samples to learn from."""
    n_trials, n_rank, n_times = windows.shape
    if n_times < 2:  # between bad segments, too
        raise ValueError(_TOO_SHORT)
    share = windows[:, 0].size / (len(problem.data) * good_samples(problem.insts[0]).sum())
    if share < 0.5:
        warn(
            f"Bad segments leave windows of {n_times} samples for {share:.0%} of the good data "
            "only, and the rest is not learned from: pass a smaller buffer_size."
        )
    if temporal == "full" and ROWS_PER_COMPONENT * n_times > n_rank * n_trials:
        warn(
            f"A full temporal covariance of {n_times} samples cannot be learned from {n_trials} x "
            f"{n_rank} time courses: using their {n_rank * n_trials // ROWS_PER_COMPONENT} leading "
            'temporal components. Pass temporal="toeplitz", more trials or a shorter window.'
        )


def _learn(windows: np.ndarray, problem: InverseProblem, options: dict) -> DughResult:
    """Learn in one thread, and show how it goes."""
    sweeps = progress_bar(options["max_iter"], "kronbayes", "sweep")

    def show(sweep: int, cost: float, n_active: int) -> None:
        sweeps.update()
        sweeps.set_postfix(cost=f"{cost:.6g}", refresh=False)
        logger.debug("Sweep %d: cost %.8g, %d active locations", sweep, cost, n_active)

    with sweeps, one_thread():
        return dugh(
            windows, problem.gain, problem.n_orient, noise_basis=problem.noise_basis, on_sweep=show,
            **options,
        )  # fmt: skip


def _judge(result: KronBayesResult) -> None:
    """Log what was found, and warn of what the user should know."""
    n_sweeps, share = len(result.cost) - 1, result.explained_variance
    if not result.converged:
        warn(
            f"kronbayes did not reach tol={result.settings['tol']:g} in {n_sweeps} sweeps; the "
            "last sweep's estimate is returned. Raise max_iter, or tol."
        )
    if share < 1:
        warn(
            f"The sources explain {share:.1f}% of the whitened data: it looks like noise alone. If "
            "the response is only a part of it, crop to that, evoked.crop(tmin, tmax); check "
            "noise_cov and evoked.nave, and lower occam if it is above 1."
        )
    check_amplitudes(result.amplitudes(), good_samples(result.problem.insts[0]))
    logger.info(
        "kronbayes: %d sweeps, %d sources in %d locations explain %.1f%% variance",
        n_sweeps, len(result.active), len(result.source_variance), share,
    )  # fmt: skip


@verbose
@fill_doc
def apply_kron_bayes(
    evoked: Instance,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    temporal: str = "toeplitz",
    noise: str = "diagonal",
    noise_temporal: str | np.ndarray | mne.BaseEpochs = "shared",
    learn_orient: bool = False,
    occam: float = 1.0,
    select: bool = False,
    loose: float | str | dict = "auto",
    depth: float | dict | None = 0.8,
    max_iter: int = 200,
    tol: float = 1e-5,
    buffer_size: int = 1000,
    sparse: bool = False,
    rank: dict | str | None = None,
    pick_ori: str | None = None,
    verbose=None,
) -> Estimate | list[Estimate]:
    """Estimate sources by hierarchical sparse Bayesian learning (Dugh).

    Learns sources, temporal covariance and noise from the data.

    Parameters
    ----------
    %(inst)s
    %(fwd)s
    %(noise)s
    %(temporal)s
    %(noise_model)s
    %(noise_temporal)s
    %(learn_orient)s
    %(occam)s
    %(select)s
    %(loose)s
    %(depth_sparse)s
    %(max_iter)s
    %(tol)s
    %(buffer_size)s
    %(sparse)s
    %(rank_none)s
    %(ori)s
    %(verbose)s

    Returns
    -------
    %(stc_of_inst)s

    See Also
    --------
    fit_kron_bayes : Also returns what was learned.

    Examples
    --------
    >>> stc = apply_kron_bayes(evoked, forward, noise_cov)  # doctest: +SKIP
    """
    return fit_kron_bayes(
        evoked, forward, noise_cov, temporal=temporal, noise=noise, noise_temporal=noise_temporal,
        learn_orient=learn_orient, occam=occam, select=select, loose=loose, depth=depth,
        max_iter=max_iter, tol=tol, buffer_size=buffer_size, sparse=sparse, rank=rank,
        pick_ori=pick_ori,
    ).stc  # fmt: skip


def check_settings(**options: Any) -> None:
    """Raise if an option has no meaning, whatever the data.

    Parameters
    ----------
    **options
        Options of :func:`fit_kron_bayes`.
    """
    all_options = {name: p.default for name, p in signature(fit_kron_bayes).parameters.items()}
    all_options |= options
    checked = signature(check_options).parameters.keys() & all_options
    check_options(**{name: all_options[name] for name in checked})
    size = all_options["buffer_size"]
    if not isinstance(size, Integral) or size < 2:
        raise ValueError(f"buffer_size must be a whole number of at least 2, got {size!r}.")
    check_pick_ori_name(all_options["pick_ori"])
    depth_options(all_options["depth"])


SOLVER = Solver(
    name="kronbayes",
    fit=fit_kron_bayes,
    check=check_settings,
    description="Sparse Bayesian learning of sources, temporal covariance and noise (Dugh)",
    result=KronBayesResult,
)
