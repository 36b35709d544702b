"""Sources switched off and on again, one by one or in batches, where the cost says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mne_kronbayes.kernel.state import State, location_slopes

_SCALES = 1.0, 1 / 3, 1 / 9  # of the variance tried: a location may act in one orientation only
_BATCH = 10  # sources that may enter together, or as many as there are


def eliminate(likelihood, price: float, evaluate: Callable[[State], object]):
    """Switch off sources, the least missed first, while each saves more than it costs.

    Sources are taken in batches. A batch may cost no more than its sources would one by one,
    plus one price: sources that stand in for each other do not go together.

    Parameters
    ----------
    likelihood : Kronecker | Separable
        The likelihood where the learning stands.
    price : float
        What each active source adds to the cost.
    evaluate : callable
        Makes the likelihood at a state.

    Returns
    -------
    likelihood : Kronecker | Separable
        With fewer sources, at least one; the same object if none was switched off.

    Notes
    -----
    The cost with prices falls with each batch. A batch takes O(log n) evaluations.
    """
    while True:
        state = likelihood.state
        costs = likelihood.shift_costs(state.gain, -state.gamma)
        cheap = np.argsort(costs)[: len(costs) - 1]
        cheap = cheap[costs[cheap] < price]
        if not len(cheap):
            return likelihood
        while True:
            kept = np.ones(len(costs), bool)
            kept[cheap] = False
            fewer = evaluate(state.keep(kept))
            allowed = min(costs[cheap].sum() + price, len(cheap) * price)
            if len(cheap) == 1 or fewer.cost - likelihood.cost <= allowed:
                break
            cheap = cheap[: (len(cheap) + 1) // 2]
        likelihood = fewer


def admit(likelihood, gain: np.ndarray, price: float, evaluate: Callable[[State], object]):
    """Switch on sources that lower the cost by more than their price, the best first.

    Parameters
    ----------
    likelihood : Kronecker | Separable
        The likelihood where the learning stands.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Gain of all locations.
    price : float
        What a source has to save.
    evaluate : callable
        Makes the likelihood at a state.

    Returns
    -------
    likelihood : Kronecker | Separable
        With more sources, or the same object: then no source that is off, of those whose slopes
        promise most, would save its price.

    Notes
    -----
    The slopes take :math:`O(M^2 N)` for all N locations, the rest is for few of them.
    """
    state, n_orient = likelihood.state, likelihood.state.n_orient
    slopes = location_slopes(likelihood.slopes[0], gain, n_orient)
    log_slope, fit_slope = (slope / n_orient for slope in slopes)
    log_slope[state.active] = np.inf
    promising = np.argsort(log_slope / fit_slope)[: max(_BATCH, len(state.active))]
    promising = promising[fit_slope[promising] > log_slope[promising]]
    if not len(promising):
        return likelihood
    s, q = log_slope[promising], fit_slope[promising]
    columns = _columns(gain, promising, n_orient)
    alike = likelihood.occam * (q - s) / s**2  # the best variance, were all orientations alike
    tried = np.outer(_SCALES, alike)
    costs = np.array([likelihood.shift_costs(columns, gamma) for gamma in tried])
    best = costs.argmin(axis=0), np.arange(len(s))
    costs, gamma = costs[best], tried[best]
    chosen = np.argsort(costs)
    chosen = chosen[costs[chosen] < -price]
    while len(chosen):
        active = np.r_[state.active, promising[chosen]]
        order = np.argsort(active)
        both = np.hstack([state.gain, _columns(gain, promising[chosen], n_orient)])
        spheres = np.tile(np.eye(n_orient), (len(chosen), 1, 1))
        more = replace(
            state,
            gain=_columns(both, order, n_orient),
            active=active[order],
            gamma=np.r_[state.gamma, gamma[chosen]][order],
            orient=np.concatenate([state.orient, spheres])[order],
        )
        more = evaluate(more)
        if more.cost < likelihood.cost - price * len(chosen):
            return more
        chosen = chosen[: len(chosen) // 2]
    return likelihood


def _columns(gain: np.ndarray, locations: np.ndarray, n_orient: int) -> np.ndarray:
    """Columns of the gain that belong to some locations."""
    return gain[:, (locations[:, None] * n_orient + np.arange(n_orient)).ravel()]
