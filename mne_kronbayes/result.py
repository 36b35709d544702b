"""What was learned from MNE objects, and what can be read from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import mne
import numpy as np
from mne.utils import fill_doc, verbose
from scipy.special import ndtri

from mne_invkit.inverse import estimate, stc
from mne_invkit.inverse.problem import InverseProblem
from mne_invkit.inverse.result import code_of
from mne_kronbayes.files import read_fit, write_fit
from mne_kronbayes.kernel.result import DughResult


@dataclass(frozen=True, eq=False)
class KronBayesResult:
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
        The arguments of the solver.
    """

    problem: InverseProblem
    learned: DughResult
    settings: dict = field(default_factory=dict)

    # %% Estimates

    def estimates(self) -> Iterator:
        """Make the estimate of each Evoked or epoch, one after the other.

        Yields
        ------
        stc : SourceEstimate
            Posterior mean (A m).
        """
        for data in self.problem.data:
            yield self._stc(data)

    def average(self):
        """Estimate the sources of the average over trials.

        Returns
        -------
        stc : SourceEstimate
            Posterior mean (A m); with ``pick_ori=None`` the magnitude of the mean vector.
        """
        return self._stc(self.problem.data.mean(axis=0))

    def _stc(self, data: np.ndarray):
        amplitude = self._std[:, None] * self.learned.posterior.mean(data)
        return stc.make_stc(
            self.problem, amplitude, pick_ori=self.settings.get("pick_ori"),
            sparse=self.settings.get("sparse", False), active=self.active,
        )  # fmt: skip

    @cached_property
    def stc(self):
        """Posterior mean (A m): an stc, or a list of them when several data were given."""
        stcs = list(self.estimates())
        return stcs if len(stcs) > 1 else stcs[0]

    @cached_property
    def residual(self):
        """Data minus the field of the estimate, all projectors applied, of the data's type."""
        amplitude = self._std[:, None] * self.sources
        return estimate.make_residual(self.problem, amplitude, self.active)

    @cached_property
    def explained_variance(self) -> float:
        """Share of the whitened data that the estimate explains, in percent."""
        sources = map(self.learned.posterior.mean, self.problem.data)
        return estimate.explained_variance(self.problem, sources, self.active)

    @property
    def sources(self) -> np.ndarray:
        """Posterior mean of the active sources in the scale of ``problem.gain``.

        Shape (n_trials, n_active * n_orient, n_times).
        """
        return self.learned.posterior.mean(self.problem.data)

    @property
    def active(self) -> np.ndarray:
        """Locations whose variance is not zero, in the order of the forward solution."""
        return self.learned.active

    @property
    def _std(self) -> np.ndarray:
        """Factor from the scale of the problem to A m, for each component of the active."""
        return self.problem.source_std.reshape(-1, self.problem.n_orient)[self.active].ravel()

    def dipoles(self, n_dipoles: int = 10, *, trial: int = 0) -> list[mne.Dipole]:
        """Return the sources that explain most sensor variance as dipoles.

        Parameters
        ----------
        n_dipoles : int
            At most so many.
        trial : int
            Which Evoked or epoch, when several were given.

        Returns
        -------
        dipoles : list of mne.Dipole
            Strongest field first.
        """
        sources = self.learned.posterior.mean(self.problem.data[trial])
        return estimate.make_dipoles(
            self.problem, sources, n_dipoles, trial=trial, active=self.active
        )

    # %% Uncertainty

    def std(self):
        """Posterior standard deviation of the estimate, given all that was learned.

        Returns
        -------
        stc : SourceEstimate
            Standard deviation (A m) of what ``stc`` shows, the same for every trial; for
            magnitudes (``pick_ori=None``, free orientation) the root of the summed variances of
            the components. It is zero where a source is switched off: the model is sure of that.
        """
        pick_ori = self.settings.get("pick_ori")
        n_orient = self.problem.n_orient
        std = self._std.reshape(-1, n_orient)
        covariance = self.learned.posterior.covariances()
        covariance = covariance * (std[:, :, None] * std[:, None])[..., None]
        if pick_ori == "vector":
            axes = self.problem.forward["source_nn"].reshape(-1, n_orient, 3)[self.active]
            variance = np.einsum("noi,nopt,npi->nit", axes, covariance, axes)
        elif pick_ori == "normal" and n_orient == 3:
            variance = covariance[:, 2, 2]
        else:
            variance = np.einsum("noot->nt", covariance)
        return stc.place_data(
            self.problem, np.sqrt(np.maximum(variance, 0)), self.active,
            vector=pick_ori == "vector", sparse=self.settings.get("sparse", False),
        )  # fmt: skip

    def interval(self, level: float = 0.95, *, trial: int = 0) -> tuple:
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
            Bounds (A m). They know nothing of the uncertainty of the variances themselves, so
            they tend to be too narrow.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}.")
        if self.problem.n_orient == 3 and self.settings.get("pick_ori") is None:
            raise ValueError(
                "An interval needs signed amplitudes, not magnitudes: fit with "
                'pick_ori="vector", or "normal" in source spaces that have one.'
            )
        mean, half = self._stc(self.problem.data[trial]), self.std()
        width = ndtri((1 + level) / 2) * half.data
        lower, upper = mean.copy(), mean.copy()
        lower.data, upper.data = mean.data - width, mean.data + width
        return lower, upper

    # %% What was learned

    @property
    def source_variance(self) -> np.ndarray:
        """Prior variance of each location, summed over orientations, in (A m)^2."""
        std = self._std.reshape(-1, self.problem.n_orient)
        variance = np.zeros(len(self.learned.source_variance))
        variance[self.active] = np.einsum("ni,nii->n", std**2, self.learned.source_covariance)
        return variance

    @property
    def temporal_covariance(self) -> np.ndarray:
        """Learned temporal covariance, shape (n_times, n_times)."""
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
        """Cost at each sweep, which never rises."""
        return self.learned.cost

    @property
    def converged(self) -> bool:
        """Whether the tolerance was reached."""
        return self.learned.converged

    @property
    def evidence(self) -> float:
        """Log-likelihood of the whitened data, given what was learned (type-II maximum).

        Compare it between models of the same data, see :func:`mne_kronbayes.evidence`. Not a
        number when a full temporal covariance was learned on a part of the data.
        """
        return self.learned.log_likelihood

    @property
    def n_parameters(self) -> int:
        """Number of variances and covariances learned."""
        return self.learned.n_parameters

    # %% Pictures

    def plot_convergence(self):
        """Draw the cost at each sweep.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The picture.
        """
        from mne_invkit.viz.fit import plot_convergence

        return plot_convergence(self.cost)

    def plot_temporal_covariance(self):
        """Draw the learned temporal covariance and the correlation over lags.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The picture.
        """
        from mne_kronbayes.plotting import plot_temporal_covariance

        return plot_temporal_covariance(self.temporal_covariance, self.problem.times)

    unit = "A m"
    code = code_of(__name__)

    def figures(self) -> dict:
        """Return the figures that a report adds, by title."""
        return {"temporal covariance": self.plot_temporal_covariance()}

    # %% Text and files

    def summary(self) -> dict[str, str]:
        """Return the main figures in words, by name."""
        state = "" if self.converged else ", not converged"
        return {
            "Problem": repr(self.problem),
            "Active sources": f"{len(self.active)} of {len(self.learned.source_variance)}",
            "Explained variance": f"{self.explained_variance:.1f} %",
            "Log evidence": f"{self.evidence:.1f}",
            "Sweeps": f"{len(self.cost) - 1}{state}",
        }

    def __repr__(self) -> str:
        parts = self.summary()
        del parts["Problem"]
        text = ", ".join(f"{name.lower()} {value}" for name, value in parts.items())
        return f"<KronBayesResult | {text}>"

    def _repr_html_(self) -> str:
        from mne_invkit.report import html_table

        return html_table([*self.summary().items(), *self.settings.items()])

    def save(self, fname, *, overwrite: bool = False) -> None:
        """Save to an HDF5 file, to be read by :func:`mne_kronbayes.read_kron_bayes`.

        Parameters
        ----------
        fname : path-like
            File name, which ends with ``.h5``.
        overwrite : bool
            Replace a file that exists.
        """
        write_fit(fname, self.problem, self.learned, self.settings, overwrite=overwrite)


@fill_doc
@verbose
def read_kron_bayes(fname, *, verbose=None) -> KronBayesResult:
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

    Examples
    --------
    >>> result.save("fit.h5")  # doctest: +SKIP
    >>> again = read_kron_bayes("fit.h5")  # doctest: +SKIP
    """
    return KronBayesResult(*read_fit(fname))
