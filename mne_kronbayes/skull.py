"""How well the skull conducts, learned from the evidence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import mne
import numpy as np
from mne.utils import logger, verbose, warn

from mne_invkit.heads.conductivity import change_skull
from mne_invkit.inverse.problem import Instance
from mne_kronbayes.apply import fit_kron_bayes

_STEPS = 1.0, 0.5  # octaves


@verbose
def learn_skull(
    evoked: Instance,
    forward: mne.Forward | Callable[[float], mne.Forward],
    noise_cov: mne.Covariance | None = None,
    *,
    bounds: tuple[float, float] = (0.25, 4.0),
    verbose=None,
    **options,
) -> tuple[mne.Forward, float]:
    """Learn from EEG how well the skull conducts, and change the forward solution accordingly.

    The conductivity of the skull is what is known least of a head model. Fields of few sources
    tell it: with a wrong one, they need many more. Any solver can use the forward solution that is
    returned.

    Parameters
    ----------
    evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data, with EEG.
    forward : mne.Forward | callable
        Forward solution with at least eight electrodes, or a function that makes one for a factor
        (from its BEM, say), in the place of :func:`mne_invkit.change_skull`.
    noise_cov : mne.Covariance | None
        Noise covariance of a single trial.
    bounds : tuple of float
        Least and largest factor.
    %(verbose)s
    **options
        Other arguments of :func:`fit_kron_bayes`.

    Returns
    -------
    forward : mne.Forward
        Forward solution of the skull with which the cost of :func:`fit_kron_bayes` is least.
    factor : float
        How many times better it conducts than in the forward solution that was given.

    See Also
    --------
    mne_invkit.change_skull : How the forward solution is changed without BEM.

    Notes
    -----
    The search climbs from the given conductivity in steps of an octave, then of half an octave, and
    ends at the vertex of a parabola: six to nine fits.

    Averages of few trials may not tell the skull at all; a factor at one of the bounds, of which it
    warns, is a sign of it.

    References
    ----------
    Akalin Acar, Z., Acar, C. E. & Makeig, S. (2016). Simultaneous head tissue conductivity and EEG
    source location estimation. NeuroImage 124, 168-180.

    Examples
    --------
    >>> forward, factor = learn_skull(evoked, forward, noise_cov)  # doctest: +SKIP
    >>> stc = apply_kron_bayes(evoked, forward, noise_cov)  # doctest: +SKIP

    With the exact forward solution of each conductivity:

    >>> def template(factor):
    ...     return template_forward(evoked.info, conductivity=(0.3, 0.006 * factor, 0.3))
    >>> forward, factor = learn_skull(evoked, template, noise_cov)  # doctest: +SKIP
    """
    if not 0 < bounds[0] <= 1 <= bounds[1] < np.inf:
        raise ValueError(f"bounds must be positive numbers around 1, got {bounds}.")
    low, high = np.log2(bounds)
    change = forward if callable(forward) else partial(change_skull, forward)
    costs, best = {}, 0.0

    def cost(octave: float) -> float:
        if octave not in costs:
            changed = change(2.0**octave)
            costs[octave] = fit_kron_bayes(evoked, changed, noise_cov, **options).cost[-1]
            logger.info("A skull that conducts %.2f times as well: cost %.6g",
                        2.0**octave, costs[octave])  # fmt: skip
        return costs[octave]

    def around(step: float) -> list[float]:
        return [best, max(best - step, low), min(best + step, high)]

    for step in _STEPS:
        while (better := min(around(step), key=cost)) != best:
            best = better
    if best in (low, high):
        warn(
            f"The cost is least at the bound, a skull that conducts {2.0**best:g} times as well: "
            "the data do not tell it, or more than the skull is wrong with the forward solution."
        )
    elif low <= best - step and best + step <= high:
        here, less, more = map(cost, around(step))
        if less + more > 2 * here:
            vertex = best + step / 2 * (less - more) / (less - 2 * here + more)
            best = min(best, vertex, key=cost)
    return change(2.0**best), 2.0**best
