"""MNE's eLORETA behind the interface of our solvers, to compare with."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import fill_doc, verbose

from mne_invkit.inverse.estimate import check_pick_ori
from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.inverse.result import InverseResult, make_result
from mne_invkit.solvers.registry import Solver


@fill_doc
@verbose
def fit_eloreta(
    evoked: mne.Evoked,
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

    Parameters
    ----------
    evoked : mne.Evoked
        The data.
    forward : mne.Forward
        Forward solution of any source space.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial; None takes an ad hoc one.
    lambda2 : float
        Regularization, 1 / SNR^2.
    %(loose)s
    %(rank_none)s
    pick_ori : None | "normal" | "vector"
        Magnitude, component along the cortical normal, or vectors.
    %(verbose)s

    Returns
    -------
    result : InverseResult
        The estimate, with the residual that MNE does not return for eLORETA.
    """
    settings = {"lambda2": lambda2, "loose": loose, "depth": None, "pick_ori": pick_ori}
    problem = prepare_problem(evoked, forward, noise_cov, loose=loose, depth=None, rank=rank)
    check_pick_ori(pick_ori, problem)
    if noise_cov is None:
        noise_cov = mne.make_ad_hoc_cov(problem.info, verbose="error")
    inverse = mne.minimum_norm.make_inverse_operator(
        problem.info, forward, noise_cov, loose=loose, depth=None, rank=rank, verbose="error"
    )
    evoked = mne.EvokedArray(
        evoked.get_data(picks=problem.info["ch_names"]),
        problem.info,
        evoked.tmin,
        nave=evoked.nave,
        verbose="error",
    )
    free = problem.n_orient == 3
    moments = mne.minimum_norm.apply_inverse(
        evoked,
        inverse,
        lambda2,
        "eLORETA",
        pick_ori="vector" if free else None,
        verbose="error",
    ).data.reshape(-1, problem.n_orient, len(problem.times))
    if free:
        axes = problem.forward["source_nn"].reshape(-1, 3, 3)
        moments = np.einsum("nox,nxt->not", axes, moments)
    sources = moments.reshape(-1, len(problem.times)) / problem.source_std[:, np.newaxis]
    return make_result(problem, sources[np.newaxis], pick_ori=pick_ori, settings=settings)


ELORETA = Solver(name="eloreta", fit=fit_eloreta, description="MNE's eLORETA, linear and smooth")
