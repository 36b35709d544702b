"""One sweep of learning: a step in time, a step of all variances, sources that leave or enter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mne_kronbayes.kernel.likelihood import Likelihood
from mne_kronbayes.kernel.linalg import solve_riccati
from mne_kronbayes.kernel.pruning import admit, eliminate
from mne_kronbayes.kernel.slopes import location_slopes, orient_slopes
from mne_kronbayes.kernel.state import State

_SAFE = 0.5  # exponent of majorization-minimization, which cannot raise the cost
_STRIDE, _GROWTH = 2.0, 1.3  # longest bold step, in log variance, and its growth
_WARM_UP = 2  # sweeps before sources are switched off: the first judgements are coarse
_PER_SENSOR = 20  # locations for each sensor that stay on in these sweeps
_STAY = 1e-12  # share of the slope that keeps orientations that are off, or without a field
_PATIENCE = 5  # sweeps over which the decrease is averaged: a bold step may gain little


@dataclass(frozen=True, eq=False)
class Progress:
    """Where learning stands between two sweeps.

    Attributes
    ----------
    likelihood : Likelihood
        The likelihood now.
    recent : tuple of float
        The last costs, at most six, since the sources or what is learned of them last changed.
    n_sweeps : int
        Number of sweeps so far.
    stride : float
        Exponent of the bold step that comes next.
    orient : bool
        Whether orientations are learned by now.
    """

    likelihood: Likelihood
    recent: tuple[float, ...]
    n_sweeps: int
    stride: float
    orient: bool


@dataclass(frozen=True, eq=False)
class Step:
    """A proposed step of all variances, whose length is still open.

    Attributes
    ----------
    state : State
        Where the step begins.
    noise : tuple of ndarray
        Rows of the slopes along the noise.
    ratio : ndarray, shape (n_active,)
        Factor of each location's variance for the exponent 1.
    orient : tuple of ndarray | None
        Where orientations are learned, the axes and variances that take the place of `ratio`.
    kept : ndarray of bool, shape (n_active,)
        Locations that a bold step leaves on.
    """

    state: State
    noise: tuple[np.ndarray, np.ndarray]
    ratio: np.ndarray
    orient: tuple[np.ndarray, np.ndarray] | None
    kept: np.ndarray

    def take(self, exponent: float) -> State:
        """Return the state after a step of some length.

        Parameters
        ----------
        exponent : float
            1/2 is majorization-minimization, 1 the fixed-point update of MacKay (1992).

        Returns
        -------
        state : State
            The new state, with all locations.
        """
        state = replace(self.state, noise=self.state.noise.step(*self.noise, exponent))
        if self.orient is None:
            return replace(state, gamma=state.gamma * self.ratio**exponent)
        axes, variances = self.orient
        return state.transform_orient(axes * variances**exponent)


def propose(likelihood: Likelihood, *, coarse: bool, orient: bool) -> Step:
    """Propose a step of all variances.

    Parameters
    ----------
    likelihood : Likelihood
        Where the step begins.
    coarse : bool
        Keep the best few locations per sensor. If False, switch off each location whose best
        variance, with all others fixed, is zero (Tipping & Faul 2003; exact for one orientation).
    orient : bool
        Step along the covariance between the components of each location, not along its variance
        alone.

    Returns
    -------
    step : Step
        The step.
    """
    state = likelihood.state
    source, noise = likelihood.slopes
    log_slope, fit_slope = location_slopes(source, state.gain, state.n_orient)
    seen = log_slope > 0  # not where orientations have been learned until no field was left
    ratio = np.divide(fit_slope, log_slope, out=np.ones_like(log_slope), where=seen)
    if coarse:
        kept = ratio >= np.sort(ratio)[-_PER_SENSOR * len(state.gain) :][0]
    else:
        kept = ratio >= 1 - state.gamma * log_slope / likelihood.occam
        kept[ratio.argmax()] = True
    axes = _orient_axes(state, source, log_slope) if orient else None
    return Step(state, noise, ratio, axes, kept)


def _orient_axes(state: State, source, log_slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes and variances of the geometric mean that minimizes the majorizer of each location."""
    s, q = orient_slopes(source, state.gain, state.n_orient)
    stay = np.where(log_slope > 0, _STAY * log_slope, 1)[:, None, None] * np.eye(state.n_orient)
    values, axes = np.linalg.eigh(solve_riccati(s + stay, q + stay))
    return axes, np.maximum(values, 0)[:, None]


def _lower(now: Likelihood, following: Likelihood) -> Likelihood:
    """Return what follows, unless rounding made its cost rise."""
    return following if following.cost <= now.cost else now


@dataclass(frozen=True, eq=False)
class Learner:
    """What a sweep does to the progress of learning.

    Attributes
    ----------
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Gain of all locations.
    threshold : float
        Mean decrease of the cost per sweep below which it counts as settled.
    price : float
        What a source has to save in cost.
    select : bool
        Switch off sources that do not save their price.
    learn_orient : bool
        Learn orientations, once the sources are known.
    """

    gain: np.ndarray
    threshold: float
    price: float
    select: bool
    learn_orient: bool

    def start(self, likelihood: Likelihood) -> Progress:
        """Return the progress before the first sweep."""
        return Progress(likelihood, (likelihood.cost,), n_sweeps=0, stride=_STRIDE, orient=False)

    def cost(self, progress: Progress) -> float:
        """Return the cost; with `select`, less the price of all locations that are off."""
        n_locations = self.gain.shape[1] // progress.likelihood.state.n_orient
        n_off = n_locations - len(progress.likelihood.state.active) if self.select else 0
        return progress.likelihood.cost - self.price * n_off

    def advance(self, now: Progress) -> Progress:
        """Return the progress after one sweep, or the same object if nothing is left to change.

        Parameters
        ----------
        now : Progress
            Where learning stands.

        Returns
        -------
        progress : Progress
            Where it stands after the sweep.
        """
        decrease = now.recent[0] - now.recent[-1]
        if len(now.recent) > _PATIENCE and decrease < _PATIENCE * self.threshold:
            return self._change_sources(now)
        likelihood, stride = self._step(now)
        return replace(
            now,
            likelihood=likelihood,
            recent=(*now.recent, likelihood.cost)[-1 - _PATIENCE :],
            n_sweeps=now.n_sweeps + 1,
            stride=stride,
        )

    def _step(self, now: Progress) -> tuple[Likelihood, float]:
        """Return the likelihood after a bold step, or a safe one, and the next bold exponent."""
        moved = _lower(now.likelihood, now.likelihood.update_time())
        step = propose(moved, coarse=now.n_sweeps < _WARM_UP, orient=now.orient)
        bold = moved.at(step.take(now.stride).keep(step.kept))
        if bold.cost <= moved.cost:
            return bold, min(_GROWTH * now.stride, _STRIDE)
        return _lower(moved, moved.at(step.take(_SAFE))), 1.0

    def _change_sources(self, now: Progress) -> Progress:
        """Let sources leave and enter where the cost has settled, then learn orientations."""
        likelihood = now.likelihood
        if self.select:
            likelihood = eliminate(likelihood, self.price)
        likelihood = admit(likelihood, self.gain, self.price)
        orient = now.orient or (self.learn_orient and likelihood is now.likelihood)
        if likelihood is now.likelihood and orient == now.orient:
            return now
        return replace(
            now, likelihood=likelihood, recent=(likelihood.cost,), n_sweeps=now.n_sweeps + 1,
            orient=orient,
        )  # fmt: skip
