"""Compare models of the same data by their evidence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from mne_kronbayes.result import KronBayesResult
from mne_kronbayes.windows import learning_windows

_Name = TypeVar("_Name", bound=Hashable)


class ModelScore(NamedTuple):
    """How well a model explains the data.

    Attributes
    ----------
    evidence : float
        Log-likelihood at the learned variances and covariances.
    n_parameters : int
        Number of variances and covariances that were learned.
    score : float
        The evidence less ``n_parameters / 2 * log(data.size)``, that is -BIC / 2.
    behind : float
        Distance from the best score.
    """

    evidence: float
    n_parameters: int
    score: float
    behind: float


def compare(results: Mapping[_Name, KronBayesResult]) -> dict[_Name, ModelScore]:
    """Compare temporal and noise models that were fitted to the same data.

    Parameters
    ----------
    results : dict of KronBayesResult
        Results by name, or by anything else that can be the key of a dict.

    Returns
    -------
    scores : dict of ModelScore
        The best first. The evidence alone always prefers the larger of two nested families; the
        Bayesian information criterion makes each parameter pay.

    Raises
    ------
    ValueError
        If the results are not of the same data, or one has no evidence.

    References
    ----------
    Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6, 461-464.

    Examples
    --------
    Let the data choose the temporal covariances of sources and noise, then learn the skull with
    them:

    >>> models = [("identity", "shared"), ("ar1", "shared"), ("ar1", "white")]
    >>> fits = {(temporal, noise): fit_kron_bayes(evoked, forward, noise_cov, temporal=temporal,
    ...                                           noise_temporal=noise)
    ...         for temporal, noise in models}  # doctest: +SKIP
    >>> temporal, noise = next(iter(compare(fits)))  # doctest: +SKIP
    >>> forward, _ = learn_skull(evoked, forward, noise_cov, temporal=temporal,
    ...                          noise_temporal=noise)  # doctest: +SKIP
    """
    if not results:
        raise ValueError("results is empty: pass a dict of at least one result.")
    first, found = None, {}
    for name, result in results.items():
        data = learning_windows(result.problem, result.learned.n_times)
        first = data if first is None else first
        if data.shape != first.shape or not np.allclose(data, first):
            raise ValueError(
                f"{name!r} was fitted to other whitened data than the first: use the same inst, "
                "noise_cov, rank and buffer_size for all."
            )
        if np.isnan(result.evidence):
            raise ValueError(
                f"{name!r} has no evidence, since its full temporal covariance covers a part of "
                'the data: pass temporal="toeplitz", more trials or a shorter window.'
            )
        price = result.n_parameters / 2 * np.log(data.size)
        found[name] = result.evidence, result.n_parameters, result.evidence - price
    best = max(score for *_, score in found.values())
    order = sorted(found, key=lambda name: -found[name][2])
    return {name: ModelScore(*found[name], behind=best - found[name][2]) for name in order}
