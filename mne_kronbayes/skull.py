"""Learn how well the skull conducts, by the cost of kronbayes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import mne
import numpy as np
from mne.utils import logger, verbose, warn

from mne_invkit._docs import fill_doc
from mne_invkit.heads.conductivity import change_skull
from mne_invkit.inverse.problem import Instance
from mne_kronbayes.apply import fit_kron_bayes

_STEPS = 1.0, 0.5  # octaves


@verbose
@fill_doc
def learn_skull(
    evoked: Instance,
    forward: mne.Forward | Callable[[float], mne.Forward],
    noise_cov: mne.Covariance | None = None,
    *,
    bounds: tuple[float, float] = (0.25, 4.0),
    verbose=None,
    **options: Any,
) -> tuple[mne.Forward, float]:
    """Learn from EEG how well the skull conducts, and change the forward solution accordingly.

    The conductivity of the skull is the least known part of a head model. Fields of few sources
    tell it: with a wrong conductivity, many more sources are needed to explain them. Any solver can
    use the forward solution that is returned.

    Parameters
    ----------
    evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data, with EEG.
    forward : mne.Forward | callable
        Forward solution with at least eight electrodes, which :func:`mne_invkit.change_skull`
        changes. Or a function that makes the forward solution for a factor, from its BEM, say.
    %(noise)s
    bounds : tuple of float
        Smallest and largest factor of the conductivity.
    %(verbose)s
    **options
        Other arguments of :func:`fit_kron_bayes`.

    Returns
    -------
    forward : mne.Forward
        Forward solution with the skull for which the cost of :func:`fit_kron_bayes` is least.
    factor : float
        Conductivity of this skull, divided by that in the forward solution given.

    See Also
    --------
    mne_invkit.change_skull : How the forward solution is changed without BEM.

    Notes
    -----
    The search starts at the given conductivity. It moves in steps of an octave, then of half an
    octave, to where the cost is less, and ends at the vertex of a parabola: six to nine fits.

    Averages of few trials may not tell the skull at all. A factor at one of the bounds, of which a
    warning tells, is a sign of that.

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
            "either the data do not determine it, or the forward solution has other errors as well."
            " Use the forward solution you have, or check electrodes and head model."
        )
    elif low <= best - step and best + step <= high:
        here, less, more = map(cost, around(step))
        if less + more > 2 * here:
            vertex = best + step / 2 * (less - more) / (less - 2 * here + more)
            best = min(best, vertex, key=cost)
    return change(2.0**best), 2.0**best
