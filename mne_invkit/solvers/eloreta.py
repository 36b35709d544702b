"""MNE's eLORETA behind the interface of our solvers, to compare with."""

from __future__ import annotations

from copy import copy

import mne
import numpy as np
from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit._mne import space_kind
from mne_invkit.inverse.instances import check_instances, get_data, naves
from mne_invkit.inverse.priors import check_pick_ori, check_pick_ori_name
from mne_invkit.inverse.problem import Instance, prepare_problem
from mne_invkit.inverse.result import InverseResult, make_result
from mne_invkit.solvers.registry import Solver


@verbose
@fill_doc
def fit_eloreta(
    evoked: Instance,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    lambda2: float = 1 / 9,
    loose: float | str | dict = "auto",
    rank: dict | str | None = None,
    pick_ori: str | None = None,
    verbose=None,
) -> InverseResult:
    """Estimate sources by :func:`mne.minimum_norm.apply_inverse` with eLORETA.

    Several Evokeds, and the trials of Epochs, are solved one after the other.

    Parameters
    ----------
    %(inst)s
    %(fwd)s
    %(noise)s
    lambda2 : float
        Regularization, 1 / SNR^2.
    %(loose)s
    %(rank_none)s
    %(ori)s
    %(verbose)s

    Returns
    -------
    result : InverseResult
        The estimate, with the residual that MNE does not return for eLORETA.
    """
    check_instances(evoked)
    check_pick_ori(pick_ori, forward, loose)
    if len(forward["src"]) == 1 and space_kind(forward["src"]) == "surface":
        raise ValueError(
            "MNE's eLORETA needs both hemispheres: pass a forward solution of both, or use another "
            "solver."
        )
    problem = prepare_problem(evoked, forward, noise_cov, loose=loose, depth=None, rank=rank)
    covariance = mne.make_ad_hoc_cov(problem.info, verbose="error")
    inverse = mne.minimum_norm.make_inverse_operator(
        problem.info, forward, covariance if noise_cov is None else noise_cov, loose=loose,
        depth=None, rank=copy(problem.settings["rank"]), verbose="error",
    )  # fmt: skip
    free = problem.n_orient == 3
    trials = get_data(problem.insts, problem.info["ch_names"])
    found = []
    for data, nave in zip(trials, naves(problem.insts), strict=True):
        trial = mne.EvokedArray(data, problem.info, problem.times[0], nave=nave, verbose="error")
        moments = mne.minimum_norm.apply_inverse(
            trial, inverse, lambda2, "eLORETA", pick_ori="vector" if free else None,
            verbose="error",
        ).data.reshape(-1, problem.n_orient, len(problem.times))  # fmt: skip
        if free:
            moments = np.einsum("nox,nxt->not", problem.axes, moments)
        moments = moments.reshape(-1, len(problem.times))
        std = problem.source_std[:, np.newaxis]
        found.append(np.divide(moments, std, out=np.zeros_like(moments), where=std > 0))
    settings = {"lambda2": lambda2}
    return make_result(problem, np.stack(found), module="mne", pick_ori=pick_ori, settings=settings)


def check_settings(
    *,
    lambda2: float = 1 / 9,
    pick_ori: str | None = None,
    loose: float | str | dict = "auto",
    rank: dict | str | None = None,
) -> None:
    """Raise if an option has no meaning, whatever the data.

    Parameters
    ----------
    lambda2 : float
        Regularization.
    pick_ori : None | "normal" | "vector"
        What the estimate holds.
    loose, rank : object
        Not checked: they depend on the data.
    """
    if not 0 <= lambda2 < np.inf:
        raise ValueError(f"lambda2 must be a finite number of at least 0, got {lambda2}.")
    check_pick_ori_name(pick_ori)


ELORETA = Solver(
    name="eloreta",
    fit=fit_eloreta,
    check=check_settings,
    description="MNE's eLORETA, linear and smooth",
)
