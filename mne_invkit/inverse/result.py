"""What every solver returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from mne.utils import logger

from mne_invkit.inverse.estimate import explained_variance, make_residual, make_stc
from mne_invkit.inverse.problem import InverseProblem


@dataclass(frozen=True, eq=False)
class InverseResult:
    """What every solver returns.

    Attributes
    ----------
    stc : SourceEstimate | list of SourceEstimate
        The estimate (A m), one for each Evoked or epoch when several were given.
    residual : Evoked | Epochs | Raw | list of Evoked
        Data minus the part that the estimate explains, all projectors applied.
    explained_variance : float
        Share of the whitened data that the estimate explains, in percent.
    settings : dict
        The arguments of the solver, for reports.
    cost : ndarray | None
        The solver's objective at each iteration, if it iterates.
    """

    stc: object
    residual: object
    explained_variance: float
    settings: dict = field(default_factory=dict)
    cost: np.ndarray | None = None


def make_result(
    problem: InverseProblem, sources: np.ndarray, *, pick_ori: str | None = None,
    sparse: bool = False, **fields,
) -> InverseResult:  # fmt: skip
    """Bring the sources of a solver back to MNE.

    Parameters
    ----------
    problem : InverseProblem
        The prepared problem.
    sources : ndarray, shape (n_trials, n_locations * n_orient, n_times)
        Sources in the scale of ``problem.gain``.
    pick_ori : None | "normal" | "vector"
        As for :func:`make_stc`.
    sparse : bool
        As for :func:`make_stc`.
    **fields
        ``settings`` and ``cost`` of the result.

    Returns
    -------
    result : InverseResult
        Estimate, residual and explained variance.
    """
    amplitude = problem.source_std[:, None] * sources
    stcs = [make_stc(problem, a, pick_ori=pick_ori, sparse=sparse) for a in amplitude]
    percent = explained_variance(problem, sources)
    logger.info("Explained %0.1f%% variance", percent)
    return InverseResult(
        stc=stcs if len(stcs) > 1 else stcs[0],
        residual=make_residual(problem, amplitude),
        explained_variance=percent,
        **fields,
    )
