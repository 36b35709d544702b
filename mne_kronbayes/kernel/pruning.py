"""Switch sources off and on again, one by one or in batches, where the cost says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mne_kronbayes.kernel.likelihood import Likelihood
from mne_kronbayes.kernel.slopes import location_slopes

_SCALES = 1.0, 1 / 3, 1 / 9  # of the variance tried: a location may act in one orientation only
_BATCH = 10  # locations that may enter together; more where there are more sources


def eliminate(likelihood: Likelihood, price: float) -> Likelihood:
    """Switch off sources, the least needed first, while each costs less than its price.

    Sources leave in batches. A batch may raise the cost by no more than its sources would one by
    one, plus one price. So sources that stand in for each other do not leave together.

    Parameters
    ----------
    likelihood : Likelihood
        The likelihood now, at a state where the cost has settled.
    price : float
        What a source has to save in cost. With the price 0, those sources leave whose absence
        lowers the cost.

    Returns
    -------
    likelihood : Likelihood
        The likelihood with fewer sources, at least one. The same object if none was switched off.

    Notes
    -----
    The cost plus the prices of all sources falls with each batch. A batch takes O(log n)
    evaluations of the likelihood.
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
            fewer = likelihood.at(state.keep(kept))
            allowed = min(costs[cheap].sum() + price, len(cheap) * price)
            if len(cheap) == 1 or fewer.cost - likelihood.cost <= allowed:
                break
            cheap = cheap[: (len(cheap) + 1) // 2]
        likelihood = fewer


def admit(likelihood: Likelihood, gain: np.ndarray, price: float) -> Likelihood:
    """Switch on locations that lower the cost by more than their price, the best first.

    Parameters
    ----------
    likelihood : Likelihood
        The likelihood now.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Gain of all locations.
    price : float
        What a source has to save in cost.

    Returns
    -------
    likelihood : Likelihood
        The likelihood with more sources. The same object if no location entered: none of the most
        promising ones would lower the cost by more than its price.

    Notes
    -----
    The slopes take :math:`O(M^2 N)` for all N locations. The rest concerns few of them.
    """
    state, n_orient = likelihood.state, likelihood.state.n_orient
    slopes = location_slopes(likelihood.slopes[0], gain, n_orient)
    log_slope, fit_slope = (slope / n_orient for slope in slopes)
    log_slope[state.active] = np.inf
    log_slope[log_slope == 0] = np.inf  # without a field
    promising = np.argsort(log_slope / fit_slope)[: max(_BATCH, len(state.active))]
    promising = promising[fit_slope[promising] > log_slope[promising]]
    if not len(promising):
        return likelihood
    s, q = log_slope[promising], fit_slope[promising]
    columns = columns_of(gain, promising, n_orient)
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
        both = np.hstack([state.gain, columns_of(gain, promising[chosen], n_orient)])
        spheres = np.tile(np.eye(n_orient), (len(chosen), 1, 1))
        more = likelihood.at(replace(
            state,
            gain=columns_of(both, order, n_orient),
            active=active[order],
            gamma=np.r_[state.gamma, gamma[chosen]][order],
            orient=np.concatenate([state.orient, spheres])[order],
        ))  # fmt: skip
        if more.cost < likelihood.cost - price * len(chosen):
            return more
        chosen = chosen[: len(chosen) // 2]
    return likelihood


def columns_of(gain: np.ndarray, locations: np.ndarray, n_orient: int) -> np.ndarray:
    """Return the columns of a gain that belong to some locations.

    Parameters
    ----------
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        The gain.
    locations : ndarray of int, shape (n,)
        The locations.
    n_orient : int
        Number of components of a location.

    Returns
    -------
    columns : ndarray, shape (n_sensors, n * n_orient)
        Their columns.
    """
    return gain[:, (locations[:, None] * n_orient + np.arange(n_orient)).ravel()]
