"""Checks of the options of learning, before any work is done."""

from __future__ import annotations

import numpy as np

from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import TEMPORAL


def lookup(registry: dict, key, what: str):
    """Return an entry by name, or the callable given in its place.

    Parameters
    ----------
    registry : dict
        Entries by name.
    key : str | callable
        A name, or what takes the place of an entry.
    what : str
        Name of the argument, for the error.

    Returns
    -------
    entry : callable
        The entry.
    """
    if callable(key):
        return key
    if not isinstance(key, str) or key not in registry:
        raise ValueError(f"{what} must be one of {sorted(registry)} or a callable, got {key!r}.")
    return registry[key]


def check_options(
    *, temporal, noise, noise_temporal, occam: float, max_iter: int, tol: float, on_interrupt: str
) -> None:
    """Raise if an option of :func:`~mne_kronbayes.kernel.loop.dugh` has no meaning.

    Parameters
    ----------
    temporal, noise, noise_temporal : object
        Temporal covariance, noise model and temporal covariance of the noise.
    occam : float
        Weight of the sources' log-determinant (Occam) term.
    max_iter : int
        Maximum number of sweeps.
    tol : float
        Tolerance.
    on_interrupt : str
        What Ctrl-C does.
    """
    lookup(TEMPORAL, temporal, "temporal")
    lookup(NOISE, noise, "noise")
    if isinstance(noise_temporal, str) and noise_temporal not in ("shared", "white"):
        raise ValueError(
            f'noise_temporal must be "shared", "white" or a covariance, got {noise_temporal!r}.'
        )
    if not 1 <= occam < np.inf:
        raise ValueError(f"occam must be a finite number of at least 1, got {occam}.")
    if max_iter < 1 or not tol > 0:
        raise ValueError(f"max_iter and tol must be positive, got {max_iter} and {tol}.")
    if on_interrupt not in ("raise", "keep"):
        raise ValueError(f'on_interrupt must be "raise" or "keep", got {on_interrupt!r}.')
