"""What every solver returns."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import mne
import numpy as np
from mne.utils import logger, verbose

from mne_invkit._docs import fill_doc
from mne_invkit._html import html_table
from mne_invkit.inverse.estimate import explained_variance, make_dipoles, make_residual
from mne_invkit.inverse.files import Saved
from mne_invkit.inverse.instances import good_samples
from mne_invkit.inverse.priors import check_pick_ori
from mne_invkit.inverse.problem import Instance, InverseProblem
from mne_invkit.inverse.stc import Estimate, make_stc
from mne_invkit.inverse.values import check_amplitudes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class Result(Protocol):
    """What reports, the command line and benchmarks ask of a result.

    :func:`mne_invkit.make_result` makes one, and :class:`BaseResult` is a start for one of your
    own. A result owns what it needs: it never reads the user's objects later, nor changes them.

    Attributes
    ----------
    stc : SourceEstimate | list of SourceEstimate
        The estimate, one for each Evoked or epoch when several were given.
    residual : Evoked | Epochs | Raw | list of Evoked
        Data minus the part that the estimate explains, all projectors applied.
    explained_variance : float
        Share of the whitened data that the estimate explains, in percent.
    settings : dict
        All arguments of the solver by name, and the versions of the packages it used.
    unit : str
        Unit of the estimate: ``"A m"``, or a name for values without one, such as ``"dSPM"``.
    code : str
        Package and version of the solver, see :func:`code_of`.
    cost : ndarray | None
        The solver's objective at each iteration, if it iterates.
    """

    stc: Estimate | list[Estimate]
    residual: Instance
    explained_variance: float
    settings: dict
    unit: str
    code: str
    cost: np.ndarray | None

    def dipoles(self, n_dipoles: int = 10, *, trial: int = 0) -> list[mne.Dipole]:
        """Sources that explain most sensor variance as dipoles, strongest field first."""

    def figures(self) -> dict[str, Figure]:
        """Figures for a report besides those that every result gets, by title."""


class BaseResult(Saved, ABC):
    """A result whose parts are made when asked for, and kept.

    A subclass has the attributes `problem` and `settings` (with `pick_ori` and, where not all
    locations are returned, `sparse`), and the method `components`.

    Attributes
    ----------
    file_kind : str
        Name of the solver, whose `result` is this class: :func:`mne_invkit.read_result` finds it by
        that name. Results of a subclass without one cannot be saved.
    """

    problem: InverseProblem
    settings: dict
    code: str
    unit: str = "A m"
    cost: np.ndarray | None = None

    @abstractmethod
    def components(self, trial: int) -> np.ndarray:
        """Components of the sources of a trial, in the scale of ``problem.gain``.

        Parameters
        ----------
        trial : int
            Which Evoked or epoch.

        Returns
        -------
        found : ndarray, shape (n_active * n_orient, n_times)
            The components of the locations `active`.
        """

    @property
    def active(self) -> np.ndarray | None:
        """Locations of the components in ascending order, None for all."""
        return None

    def amplitudes(self) -> Iterator[np.ndarray]:
        """Make the amplitudes of each Evoked or epoch, one after the other.

        Yields
        ------
        amplitudes : ndarray, shape (n_active * n_orient, n_times)
            Amplitude of each component (A m) of the locations `active`.
        """
        std = self.problem.std(self.active)[:, np.newaxis]
        for trial in range(len(self.problem.data)):
            yield std * self.components(trial)

    def estimates(self) -> Iterator[Estimate]:
        """Make the estimate of each Evoked or epoch, one after the other.

        Yields
        ------
        stc : SourceEstimate
            The estimate (A m).
        """
        for amplitude in self.amplitudes():
            yield self._make_stc(amplitude)

    def _make_stc(self, amplitude: np.ndarray) -> Estimate:
        return make_stc(
            self.problem, amplitude, pick_ori=self.settings.get("pick_ori"),
            sparse=self.settings.get("sparse", False), active=self.active,
        )  # fmt: skip

    @cached_property
    def stc(self) -> Estimate | list[Estimate]:
        """The estimate, or a list of them when several data were given."""
        stcs = list(self.estimates())
        return stcs if len(stcs) > 1 else stcs[0]

    @cached_property
    def residual(self) -> Instance:
        """Data minus the field of the sources, all projectors applied, of the data's type."""
        return make_residual(self.problem, self.amplitudes(), self.active)

    @cached_property
    def explained_variance(self) -> float:
        """Share of the whitened data that the estimate explains, in percent."""
        found = map(self.components, range(len(self.problem.data)))
        return explained_variance(self.problem, found, self.active)

    def dipoles(self, n_dipoles: int = 10, *, trial: int = 0) -> list[mne.Dipole]:
        """Return the sources that explain most sensor variance as dipoles.

        Parameters
        ----------
        n_dipoles : int
            Maximum number of dipoles.
        trial : int
            Which Evoked or epoch, when several were given.

        Returns
        -------
        dipoles : list of mne.Dipole
            Strongest field first.
        """
        self.check_trial(trial)
        if n_dipoles < 1:
            raise ValueError(f"n_dipoles must be at least 1, got {n_dipoles}.")
        found = self.components(trial)
        return make_dipoles(self.problem, found, n_dipoles, trial=trial, active=self.active)

    def check_trial(self, trial: int) -> None:
        """Raise if there is no such trial.

        Parameters
        ----------
        trial : int
            Which Evoked or epoch.
        """
        n_trials = len(self.problem.data)
        if trial not in range(n_trials):
            raise ValueError(f"trial must be a number from 0 to {n_trials - 1}, got {trial!r}.")

    def figures(self) -> dict[str, Figure]:
        """Return the figures that a report adds, by title: none."""
        return {}

    def summary(self) -> dict[str, str]:
        """Return what matters most in words, by name."""
        return {
            "Solver": self.code or "without a name",
            "Explained variance": f"{self.explained_variance:.1f} %",
            "Unit": self.unit,
        }

    def __repr__(self) -> str:
        words = ", ".join(f"{name.lower()} {value:.60}" for name, value in self.summary().items())
        return f"<{type(self).__name__} | {words}>"

    def _repr_html_(self) -> str:
        rows = (self.problem.summary(), self.summary(), self.settings)
        return html_table(row for part in rows for row in part.items())


@dataclass(frozen=True, eq=False, repr=False)
class InverseResult(BaseResult):
    """The result that :func:`mne_invkit.make_result` makes.

    It has all attributes of :class:`Result`. Save it with ``result.save("result.h5")``.

    Attributes
    ----------
    problem : InverseProblem
        The prepared problem.
    found : ndarray, shape (n_trials, n_locations * n_orient, n_times)
        Components of each trial in the scale of ``problem.gain``.
    settings : dict
        All arguments of the solver.
    code : str
        Package and version of the solver.
    unit : str
        Unit of the estimate.
    weights : ndarray, shape (n_locations * n_orient,) | None
        From amplitudes to values of the estimate that have another unit.
    cost : ndarray | None
        The solver's objective at each iteration, if it iterates.
    """

    file_kind = "inverse"
    problem: InverseProblem
    found: np.ndarray
    settings: dict = field(default_factory=dict)
    code: str = ""
    unit: str = "A m"
    weights: np.ndarray | None = None
    cost: np.ndarray | None = None

    def components(self, trial: int) -> np.ndarray:
        """Components of a trial, in the scale of ``problem.gain``."""
        return self.found[trial]

    def _make_stc(self, amplitude: np.ndarray) -> Estimate:
        if self.weights is not None:
            amplitude = self.weights[:, np.newaxis] * amplitude
        return super()._make_stc(amplitude)


@verbose
@fill_doc
def make_result(
    problem: InverseProblem,
    found: np.ndarray,
    *,
    module: str = "",
    pick_ori: str | None = None,
    sparse: bool = False,
    settings: dict | None = None,
    unit: str = "A m",
    weights: np.ndarray | None = None,
    cost: np.ndarray | None = None,
    verbose=None,
) -> InverseResult:
    """Bring what a solver found back to MNE.

    Parameters
    ----------
    %(problem)s
    found : ndarray, shape (n_trials, n_locations * n_orient, n_times)
        Components of each trial in the scale of ``problem.gain``; times
        ``problem.source_std`` they are amplitudes in A m.
    module : str
        A module of the solver's package, most often ``__name__``.
    %(ori)s
    sparse : bool
        Keep only the locations that are not zero throughout.
    settings : dict | None
        Arguments of the solver itself; those of the problem are added.
    unit : str
        Unit of the estimate.
    weights : ndarray, shape (n_locations * n_orient,) | None
        From amplitudes to values of another unit, such as the noise normalization of dSPM.
        Residual and explained variance are those of the amplitudes.
    cost : ndarray | None
        The solver's objective at each iteration.
    %(verbose)s

    Returns
    -------
    result : InverseResult
        Estimate, residual, explained variance and dipoles, made when asked for.

    Examples
    --------
    >>> from mne_invkit import make_result
    >>> make_result(problem, found, module=__name__).stc  # doctest: +SKIP
    """
    check_pick_ori(pick_ori, problem.forward)
    if not len(problem.data):
        raise TypeError(
            "The problem has no data: pass an Evoked, Epochs or Raw to prepare_problem and not an "
            "Info, or problem.with_data(inst)."
        )
    wanted = (len(problem.data), problem.gain.shape[1], len(problem.times))
    if np.shape(found) != wanted:
        raise ValueError(
            f"found must have the shape (n_trials, n_locations * n_orient, n_times) = {wanted}, "
            f"got {np.shape(found)}."
        )
    if (weights is None) != (unit == "A m"):
        raise ValueError(
            f"An estimate in {unit!r} needs weights that make it from amplitudes in A m, and one "
            'in A m has none: pass both unit="..." and weights=..., or neither.'
        )
    settings = {**problem.settings, **(settings or {}), "pick_ori": pick_ori, "sparse": sparse}
    code = code_of(module) if module else ""
    result = InverseResult(problem, found, settings, code, unit, weights, cost)
    check_amplitudes(result.amplitudes(), good_samples(problem.insts[0]))
    logger.info("Explained %0.1f%% variance", result.explained_variance)
    return result


def code_of(module: str) -> str:
    """Name and version of the package that a module belongs to.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"mne_kronbayes.apply"``.

    Returns
    -------
    code : str
        Such as ``"mne_kronbayes 0.1.0"``; the name alone if the package has no version.
    """
    package = module.partition(".")[0]
    number = getattr(sys.modules.get(package), "__version__", None)
    if number is None:
        names = packages_distributions().get(package, [])
        number = version(names[0]) if names else ""
    return f"{package} {number}".strip()
