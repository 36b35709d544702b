"""Hierarchical sparse Bayesian learning on MNE objects."""

from __future__ import annotations

import logging
from dataclasses import replace

import mne
import numpy as np
from mne.utils import fill_doc, logger, verbose, warn
from tqdm import tqdm

from mne_invkit.inverse.estimate import explained_variance
from mne_invkit.inverse.priors import check_pick_ori
from mne_invkit.inverse.problem import Instance, InverseProblem, prepare_problem
from mne_invkit.solvers.registry import Solver
from mne_kronbayes.kernel.families import ROWS_PER_COMPONENT
from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.result import DughResult
from mne_kronbayes.noise_epochs import noise_autocovariance
from mne_kronbayes.result import KronBayesResult


@fill_doc
@verbose
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
        The data. Several Evokeds (conditions), or the trials of Epochs, are solved jointly:
        they share active sources, temporal covariance and noise.
    forward : mne.Forward
        Forward solution of any source space.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial, where learning starts (and ends, with
        ``noise="fixed"``). None takes an ad hoc one, for a single sensor type.
    temporal : "identity" | "full" | "toeplitz" | "ar1" | "squared-exponential" | callable
        Temporal covariance: white, any, stationary, or stationary with one parameter. "full"
        needs many more sensors and trials than times and is otherwise learned on the leading
        temporal components.
    noise : "fixed" | "scalar" | "diagonal" | "full" | callable
        Noise model: as given, one factor for the given covariance, a variance for each sensor,
        or any covariance, shrunk toward the shape of the given one. Errors of the head model act
        as noise, and the covariance of an averaged baseline is far too small for them, hence the
        default.
    noise_temporal : "shared" | "white" | ndarray | mne.BaseEpochs
        Temporal covariance of the noise: that of the sources, white, as given (shape (n_times,)
        for its first column, or (n_times, n_times)), or that of a baseline. All but the first take
        time that grows with the cube of the number of times.
    learn_orient : bool
        Learn the covariance between the components of each active source, by which most keep one
        orientation; else they share a variance, with the shares that `loose` gives. Simulated
        sources come closer to the truth, with ``occam=2``; real fields of few averages may be lost.
    occam : float
        How often the sources' part of the log-determinant counts. 1 is the paper's likelihood,
        which takes errors of the head model for sources; 2 leaves fewer of those.
        Where the signal is hardly above noise that is less smooth than it, 2 may leave none of
        them with a shared temporal covariance: use ``temporal="identity"`` there, or measured
        noise (`noise_temporal`).
    select : bool
        Switch off, the least missed first, all sources that do not raise the evidence by their
        price (extended Bayesian information criterion). Simulated sources are found more purely
        so, but weak ones of few averages may be lost.
    %(loose)s
    depth : float | dict | None
        Depth weighting, see :func:`mne_invkit.prepare_problem`.
    max_iter : int
        At most so many sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term.
    sparse : bool
        Return only the active sources; otherwise the estimate has all, zero where inactive.
    %(rank_none)s
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    on_interrupt : "raise" | "keep"
        What Ctrl-C does while learning: stop with an error, or return what was learned so far.
    %(verbose)s

    Returns
    -------
    result : KronBayesResult
        Estimate with everything learned and the cost at each sweep.

    See Also
    --------
    apply_kron_bayes : Returns the estimate alone.
    mne.inverse_sparse.gamma_map : Sparse Bayesian learning with fixed noise, white in time.

    References
    ----------
    Hashemi, A., Gao, Y., Cai, C., Ghosh, S., Müller, K.-R., Nagarajan, S. S. & Haufe, S.
    (2021). Efficient hierarchical Bayesian inference for spatio-temporal regression models
    in neuroimaging. NeurIPS 34, arXiv:2111.01692.

    Examples
    --------
    >>> from mne_invkit import load_sep
    >>> from mne_invkit import template_forward
    >>> from mne_kronbayes import fit_kron_bayes
    >>> sep = load_sep(verbose=False)
    >>> forward = template_forward(sep.evoked.info, spacing="ico3", verbose=False)
    >>> evoked = sep.evoked.copy().crop(0.02, 0.04)
    >>> result = fit_kron_bayes(evoked, forward, sep.noise_cov, verbose=False)
    >>> result.explained_variance > 95
    True
    """
    measured = isinstance(noise_temporal, mne.BaseEpochs)
    settings = {
        "temporal": temporal, "noise": noise, "learn_orient": learn_orient, "occam": occam,
        "select": select,
        "noise_temporal": repr(noise_temporal) if measured else noise_temporal,
        "loose": loose, "depth": depth, "max_iter": max_iter, "tol": tol,
        "sparse": sparse, "pick_ori": pick_ori,
    }  # fmt: skip
    problem = prepare_problem(evoked, forward, noise_cov, loose=loose, depth=depth, rank=rank)
    check_pick_ori(pick_ori, problem.forward)
    learned = learn(
        problem.data, problem, temporal=temporal, noise=noise, noise_temporal=noise_temporal,
        learn_orient=learn_orient, occam=occam, select=select, max_iter=max_iter, tol=tol,
        on_interrupt=on_interrupt,
    )  # fmt: skip
    return KronBayesResult(problem, learned, settings)


def learn(
    data: np.ndarray, problem: InverseProblem, *, temporal, noise_temporal, max_iter: int,
    tol: float, **options,
) -> DughResult:  # fmt: skip
    """Check, learn with a progress bar, and warn of what the user should know.

    Parameters
    ----------
    data : ndarray, shape (n_trials, n_rank, n_times)
        Whitened data, those of the problem or cut in another way.
    problem : InverseProblem
        The prepared problem.
    temporal, noise_temporal : object
        As for :func:`fit_kron_bayes`.
    max_iter : int
        At most so many sweeps.
    tol : float
        When to stop.
    **options
        Other arguments of :func:`mne_kronbayes.kernel.loop.dugh`.

    Returns
    -------
    learned : DughResult
        What was learned.
    """
    if max_iter < 1 or not tol > 0:
        raise ValueError(f"max_iter and tol must be positive, got {max_iter} and {tol}.")
    n_trials, n_rank, n_times = data.shape
    if n_times < 2:
        raise ValueError(
            "The data have one time sample, too few to learn from: pass a longer window with "
            "evoked.crop(tmin, tmax), or the uncropped data."
        )
    if temporal == "full" and ROWS_PER_COMPONENT * n_times > n_rank * n_trials:
        warn(
            f"A full temporal covariance of {n_times} samples cannot be learned from {n_trials} x "
            f"{n_rank} time courses: using their {n_rank * n_trials // ROWS_PER_COMPONENT} leading "
            'temporal components. Pass temporal="toeplitz", more trials or a shorter window.'
        )
    if isinstance(noise_temporal, mne.BaseEpochs):
        noise_temporal = noise_autocovariance(noise_temporal, problem)[:n_times]
    hidden = logger.getEffectiveLevel() > logging.INFO or None  # None: shown on a terminal
    with tqdm(total=max_iter, desc="kronbayes", unit="sweep", disable=hidden, leave=False) as bar:

        def show(sweep, cost):
            bar.update()
            bar.set_postfix(cost=f"{cost:.6g}")

        learned = dugh(
            data, problem.gain, problem.n_orient, noise_basis=problem.noise_basis,
            temporal=temporal, noise_temporal=noise_temporal, max_iter=max_iter, tol=tol,
            on_sweep=show, **options,
        )  # fmt: skip
    if not learned.converged:
        warn(
            f"kronbayes did not reach tol={tol:g} in {len(learned.cost) - 1} sweeps; the last "
            "sweep's estimate is returned. Raise max_iter, or tol."
        )
    sources = map(learned.posterior.mean, data)
    share = explained_variance(replace(problem, data=data), sources, learned.active)
    if share < 1:
        warn(
            f"The sources explain {share:.1f}% of the whitened data: it looks like noise alone. "
            "Check noise_cov and evoked.nave, and lower occam if it is above 1."
        )
    logger.info(
        "kronbayes: %d sweeps, %d active sources of %d explain %.1f%% variance",
        len(learned.cost) - 1, len(learned.active), len(learned.source_variance), share,
    )  # fmt: skip
    return learned


@fill_doc
@verbose
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
    sparse: bool = False,
    rank: dict | str | None = None,
    pick_ori: str | None = None,
    verbose=None,
):
    """Estimate sources by hierarchical sparse Bayesian learning (Dugh).

    Learns which sources are active, the temporal covariance and the noise from the data.

    Parameters
    ----------
    evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data.
    forward : mne.Forward
        Forward solution of any source space.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial.
    temporal, noise, noise_temporal : object
        Temporal covariance, noise model and temporal covariance of the noise, as for
        :func:`fit_kron_bayes`.
    learn_orient : bool
        Learn the orientation of each active source, unless `loose` fixes it.
    occam : float
        How often sources pay for what they could explain: 1 is the paper's likelihood, more is a
        guard against errors of the head model.
    select : bool
        Keep only sources that the evidence pays for.
    %(loose)s
    depth : float | dict | None
        Depth weighting.
    max_iter : int
        At most so many sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term.
    sparse : bool
        Return only the active sources.
    %(rank_none)s
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    %(verbose)s

    Returns
    -------
    stc : SourceEstimate | list of SourceEstimate
        Estimate in A m, of the class that the source space and `pick_ori` ask for; a list
        for a list of Evoked or for Epochs.

    See Also
    --------
    fit_kron_bayes : Also returns what was learned.

    Examples
    --------
    >>> from mne_invkit import load_sep
    >>> from mne_invkit import template_forward
    >>> from mne_kronbayes import apply_kron_bayes
    >>> sep = load_sep(verbose=False)
    >>> forward = template_forward(sep.evoked.info, spacing="ico3", verbose=False)
    >>> evoked = sep.evoked.copy().crop(0.02, 0.04)
    >>> apply_kron_bayes(evoked, forward, sep.noise_cov, verbose=False)
    <SourceEstimate | 1216 vertices, subject : fsaverage5, ...>
    """
    return fit_kron_bayes(
        evoked, forward, noise_cov, temporal=temporal, noise=noise, noise_temporal=noise_temporal,
        learn_orient=learn_orient, occam=occam, select=select, loose=loose, depth=depth,
        max_iter=max_iter, tol=tol, sparse=sparse, rank=rank, pick_ori=pick_ori,
    ).stc  # fmt: skip


SOLVER = Solver(
    name="kronbayes",
    fit=fit_kron_bayes,
    description="Sparse Bayesian learning of sources, temporal covariance and noise (Dugh)",
)
