"""What was learned from MNE objects, and what can be read from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import mne
import numpy as np
from mne.utils import verbose
from scipy.special import ndtri

from mne_invkit._docs import fill_doc
from mne_invkit.inverse.files import read_parts, unpack
from mne_invkit.inverse.problem import InverseProblem
from mne_invkit.inverse.result import BaseResult, code_of
from mne_invkit.inverse.stc import Estimate, place_data
from mne_kronbayes.files import pack_learned, unpack_learned
from mne_kronbayes.kernel.result import DughResult
from mne_kronbayes.windows import join_windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class KronBayesResult(BaseResult):
    """Sources, their uncertainty, and all that `fit_kron_bayes` learned.

    It has the attributes of :class:`mne_invkit.InverseResult`; estimates are made
    when asked for.

    Attributes
    ----------
    problem : InverseProblem
        The prepared problem.
    learned : DughResult
        What was learned, in arrays, in the scale of ``problem.gain``.
    settings : dict
        All arguments of the solver.
    code : str
        Package and version of the solver that learned it.
    """

    file_kind = "kronbayes"
    problem: InverseProblem
    learned: DughResult
    settings: dict = field(default_factory=dict)
    code: str = field(default_factory=lambda: code_of(__name__))

    # %% Estimates

    @property
    def active(self) -> np.ndarray:
        """Active locations in ascending order: those whose variance is not zero."""
        return self.learned.active

    def components(self, trial: int) -> np.ndarray:
        """Return the posterior mean of the components of a trial, those of the active locations."""
        return self._mean(self.problem.data[trial])

    def _mean(self, data: np.ndarray) -> np.ndarray:
        """Posterior mean for whitened data, of Raw window by window."""
        return self._over_time(lambda window: self.learned.posterior.mean(data[:, window]))

    def _over_time(self, make) -> np.ndarray:
        """Values over all times of the data, of which `make` returns those of a window."""
        return join_windows(make, len(self.problem.times), self.learned.n_times)

    def average(self) -> Estimate:
        """Estimate the sources of the average over trials.

        Returns
        -------
        stc : SourceEstimate
            Posterior mean (A m); with ``pick_ori=None`` the magnitude of the mean vector.
        """
        mean = self._mean(self.problem.data.mean(axis=0))
        return self._make_stc(self.problem.std(self.active)[:, None] * mean)

    # %% Uncertainty

    def std(self) -> Estimate:
        """Posterior standard deviation of the estimate, given all that was learned.

        Returns
        -------
        stc : SourceEstimate
            Standard deviation (A m) of what ``stc`` shows, the same for every trial; for
            magnitudes (``pick_ori=None``, free orientation) the root of the summed variances of
            the components. It is zero where there is no source: the model is sure of that.
        """
        pick_ori = self.settings.get("pick_ori")
        n_orient = self.problem.n_orient
        std = self.problem.std(self.active).reshape(-1, n_orient)
        covariances = self.learned.posterior.covariances()
        covariance = self._over_time(lambda window: covariances)
        covariance = covariance * (std[:, :, None] * std[:, None])[..., None]
        if pick_ori == "vector":
            axes = self.problem.axes[self.active]
            variance = np.einsum("noi,nopt,npi->nit", axes, covariance, axes)
        elif pick_ori == "normal" and n_orient == 3:
            variance = covariance[:, 2, 2]
        else:
            variance = np.einsum("noot->nt", covariance)
        return place_data(
            self.problem, np.sqrt(np.maximum(variance, 0)), self.active,
            vector=pick_ori == "vector", sparse=self.settings.get("sparse", False),
        )  # fmt: skip

    def interval(self, level: float = 0.95, *, trial: int = 0) -> tuple[Estimate, Estimate]:
        """Credible interval of each amplitude, given all that was learned.

        Parameters
        ----------
        level : float
            Probability that the amplitude lies within.
        trial : int
            Which Evoked or epoch, when several were given.

        Returns
        -------
        lower, upper : SourceEstimate
            Bounds (A m). They leave out the uncertainty of the variances themselves, so they
            tend to be too narrow.
        """
        self.check_trial(trial)
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}.")
        if self.problem.n_orient == 3 and self.settings.get("pick_ori") is None:
            raise ValueError(
                "An interval needs signed amplitudes, not magnitudes: fit with "
                'pick_ori="vector", or "normal" in source spaces that have one.'
            )
        std = self.problem.std(self.active)[:, None]
        mean, half = self._make_stc(std * self.components(trial)), self.std()
        width = ndtri((1 + level) / 2) * half.data
        lower, upper = mean.copy(), mean.copy()
        lower.data, upper.data = mean.data - width, mean.data + width
        return lower, upper

    # %% What was learned

    @property
    def source_variance(self) -> np.ndarray:
        """Prior variance of each location, summed over its components, in (A m)^2."""
        std = self.problem.std(self.active).reshape(-1, self.problem.n_orient)
        variance = np.zeros(len(self.learned.source_variance))
        variance[self.active] = np.einsum("ni,nii->n", std**2, self.learned.source_covariance)
        return variance

    @property
    def temporal_covariance(self) -> np.ndarray:
        """Learned temporal covariance of a trial, for Raw of a window, shape (n_times, n_times)."""
        return self.learned.temporal_covariance

    @property
    def noise_cov(self) -> mne.Covariance:
        """Learned noise covariance of a single trial, to compare or to pass to another solver."""
        problem = self.problem
        back = np.linalg.pinv(problem.whitener)
        data = problem.nave * back @ self.learned.noise_covariance @ back.T
        info = problem.info
        return mne.Covariance(data, info["ch_names"], [], info["projs"], problem.data.shape[2])

    @property
    def cost(self) -> np.ndarray:
        """Cost before each sweep and after the last; it never rises."""
        return self.learned.cost

    @property
    def converged(self) -> bool:
        """Whether the tolerance was reached."""
        return self.learned.converged

    @property
    def evidence(self) -> float:
        """Log-likelihood of the whitened data, given what was learned (type-II maximum).

        Compare it between models of the same data with :func:`mne_kronbayes.compare`. NaN where a
        full temporal covariance was learned on a part of the data.
        """
        return self.learned.log_likelihood

    @property
    def n_parameters(self) -> int:
        """Number of variances and covariances learned."""
        return self.learned.n_parameters

    # %% Figures

    def plot_convergence(self) -> Figure:
        """Draw the cost over sweeps.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from mne_invkit.viz.fit import plot_convergence

        return plot_convergence(self.cost)

    def plot_temporal_covariance(self) -> Figure:
        """Draw the learned temporal covariance and the correlation over lags.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from mne_kronbayes.plotting import plot_temporal_covariance

        times = self.problem.times[: self.learned.n_times]
        return plot_temporal_covariance(self.temporal_covariance, times)

    def figures(self) -> dict[str, Figure]:
        """Return the figures that a report adds, by title."""
        return {"temporal covariance": self.plot_temporal_covariance()}

    # %% Text and files

    def summary(self) -> dict[str, str]:
        """Return what matters most in words, by name."""
        state = "" if self.converged else ", not converged"
        return {
            "Sources": f"{len(self.active)} of {len(self.learned.source_variance)}",
            "Explained variance": f"{self.explained_variance:.1f} %",
            "Log evidence": f"{self.evidence:.1f}",
            "Sweeps": f"{len(self.cost) - 1}{state}",
        }

    def pack(self) -> dict:
        """Take the result apart, see :meth:`mne_invkit.InverseResult.pack`."""
        return super().pack() | {"learned": pack_learned(self.learned)}

    @classmethod
    def unpack(cls, parts: dict) -> Self:
        """Make the result again that :meth:`pack` took apart."""
        return super().unpack(parts | {"learned": unpack_learned(parts["learned"])})


@verbose
@fill_doc
def read_kron_bayes(fname: str | Path, *, verbose=None) -> KronBayesResult:
    """Read a result that :meth:`KronBayesResult.save` wrote.

    Parameters
    ----------
    fname : path-like
        File name.
    %(verbose)s

    Returns
    -------
    result : KronBayesResult
        The result, which can do all that the one saved could.

    See Also
    --------
    mne_invkit.read_result : Reads the results of all solvers.

    Examples
    --------
    >>> result.save("fit.h5")  # doctest: +SKIP
    >>> again = read_kron_bayes("fit.h5")  # doctest: +SKIP
    """
    kind, parts = read_parts(fname)
    if kind != KronBayesResult.file_kind:
        raise ValueError(f"{fname} holds {kind!r}, no fit of kronbayes: mne_invkit.read_result.")
    return unpack(fname, KronBayesResult.unpack, parts)
