"""Backward elimination: sources that the evidence does not pay for are switched off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mne_kronbayes.state import State


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
        costs = likelihood.removal_costs()
        cheap = np.argsort(costs)[: len(costs) - 1]
        cheap = cheap[costs[cheap] < price]
        if not len(cheap):
            return likelihood
        while True:
            kept = np.ones(len(costs), bool)
            kept[cheap] = False
            fewer = evaluate(likelihood.state.keep(kept))
            allowed = min(costs[cheap].sum() + price, len(cheap) * price)
            if len(cheap) == 1 or fewer.cost - likelihood.cost <= allowed:
                break
            cheap = cheap[: (len(cheap) + 1) // 2]
        likelihood = fewer
