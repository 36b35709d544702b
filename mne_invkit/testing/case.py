"""Small simulated data to try a solver on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mne
import numpy as np

from mne_invkit.heads.template import (
    SUBJECT,
    template_source_space,
    template_subjects_dir,
    template_trans,
)
from mne_invkit.inverse.problem import Instance
from mne_invkit.inverse.result import Result
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.solvers.registry import Solver

KINDS = ("surface", "volume", "discrete", "mixed")
"""Kinds of source spaces that a solver is checked on."""

_CENTER, _RADIUS = np.array([0.001, 0.002, 0.041]), 0.11  # m, of spheres around the template


@dataclass(frozen=True, eq=False)
class Case:
    """A solver and data to try it on.

    Attributes
    ----------
    solver : Solver
        The solver, whose ``fit`` the contracts call with data, forward solution and noise
        covariance of the case.
    kind : str
        Kind of the source space.
    evoked : mne.Evoked
        Data.
    epochs : mne.Epochs
        Its three trials, of which one is bad and not dropped yet.
    forward : mne.Forward
        Free-orientation forward solution.
    noise_cov : mne.Covariance
        Noise covariance.
    options : dict
        Passed to ``solver.fit``.
    """

    solver: Solver
    kind: str
    evoked: mne.Evoked
    epochs: mne.Epochs
    forward: mne.Forward
    noise_cov: mne.Covariance
    options: dict

    def fit(
        self,
        inst: Instance | None = None,
        *,
        noise_cov: mne.Covariance | None = None,
        **options: Any,
    ) -> Result:
        """Run the solver on other data, another covariance or with more options.

        Parameters
        ----------
        inst : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | None
            The data, those of the case if None.
        noise_cov : mne.Covariance | None
            Noise covariance, that of the case if None.
        **options
            Passed to ``solver.fit``.

        Returns
        -------
        result : Result
            What the solver returns.
        """
        inst = self.evoked.copy() if inst is None else inst
        noise_cov = self.noise_cov if noise_cov is None else noise_cov
        return self.solver.fit(inst, self.forward, noise_cov, **self.options, **options)

    @cached_property
    def result(self) -> Result:
        """What the solver returns for the data of the case."""
        return self.fit()

    def require(self, kept: bool, sentence: str) -> None:
        """Raise an AssertionError with a sentence if a contract is not kept."""
        if not kept:
            raise AssertionError(f"Solver {self.solver.name!r}, {self.kind} sources: {sentence}")


def make_case(solver: Solver, kind: str, **options: Any) -> Case:
    """Make data for a kind of source space: 32 electrodes, two sources, three trials.

    Parameters
    ----------
    solver : Solver
        The solver.
    kind : "surface" | "volume" | "discrete" | "mixed"
        Kind of the source space.
    **options
        Passed to ``solver.fit``.

    Returns
    -------
    case : Case
        The case.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    montage = mne.channels.make_standard_montage("biosemi32")
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    sphere = mne.make_sphere_model(_CENTER, _RADIUS)
    trans, src = template_trans(), None
    if kind in ("surface", "mixed"):
        src = template_source_space(spacing="ico3")
    if kind in ("volume", "mixed"):
        subjects_dir = template_subjects_dir()
        volume = mne.setup_volume_source_space(
            SUBJECT, pos=20.0, surface=subjects_dir / SUBJECT / "bem" / "inner_skull.surf",
            subjects_dir=subjects_dir, add_interpolator=False,
        )  # fmt: skip
        src = volume if src is None else src + volume
    if kind == "discrete":
        rng = np.random.default_rng(0)
        nn = rng.standard_normal((60, 3))
        nn /= np.linalg.norm(nn, axis=1, keepdims=True)
        rr = _CENTER + rng.uniform(0.02, 0.06, (60, 1)) * nn
        src, trans = mne.setup_volume_source_space(pos=dict(rr=rr, nn=nn)), None
    forward = mne.make_forward_solution(info, trans, src, sphere, mindist=3.0)
    simulation = simulate_evoked(forward, info, sources=2, tmin=-0.03, tmax=0.12, n_trials=3, rng=0)
    trials = simulation.epochs.get_data()
    trials[1] *= 1e3  # the bad one
    raw = mne.io.RawArray(np.concatenate(trials, axis=1), simulation.epochs.info)
    n_times = trials.shape[2]
    events = np.array([[k * n_times + 3, 0, 1] for k in range(len(trials))])
    reject = dict(eeg=0.1 * np.ptp(trials[1], axis=1).max())
    epochs = mne.Epochs(raw, events, tmin=-0.03, tmax=0.12, baseline=None, reject=reject)
    return Case(solver, kind, simulation.evoked, epochs, forward, simulation.noise_cov, options)
