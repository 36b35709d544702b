"""Checks of what learning is given, before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import toeplitz

from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import TEMPORAL

_SCALE = 1e15  # largest magnitude of data and gain, and the inverse of the least: squares are taken
_SINGULAR = 1e-13  # least conditional variance of a noise sample, as a share of the largest


def lookup(registry: dict, key: object, what: str) -> Callable:
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
    *,
    temporal: object,
    noise: object,
    noise_temporal: object,
    occam: float,
    max_iter: int,
    tol: float,
    on_interrupt: str,
    learn_orient: bool,
    select: bool,
    on_sweep: object = None,
    n_times: int | None = None,
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
    learn_orient, select : bool
        Switches.
    on_sweep : callable | None
        Called after each sweep.
    n_times : int | None
        Number of times of the data, None where it is not known yet.
    """
    family = lookup(TEMPORAL, temporal, "temporal")
    if not hasattr(family, "n_components"):
        raise ValueError(
            f"temporal must be one of {sorted(TEMPORAL)} or a class with the methods of "
            f"mne_kronbayes.kernel.temporal.TemporalFamily, got {temporal!r}."
        )
    lookup(NOISE, noise, "noise")
    if isinstance(noise_temporal, str):
        if noise_temporal not in ("shared", "white"):
            raise ValueError(
                f'noise_temporal must be "shared", "white" or a covariance, got {noise_temporal!r}.'
            )
    else:
        _check_noise_temporal(noise_temporal, n_times)
    if not _is_number(occam) or not 1 <= occam < np.inf:
        raise ValueError(f"occam must be a finite number of at least 1, got {occam!r}.")
    if not _is_number(max_iter, Integral) or max_iter < 1:
        raise ValueError(f"max_iter must be an integer of at least 1, got {max_iter!r}.")
    if not _is_number(tol) or not 0 < tol < np.inf:
        raise ValueError(f"tol must be a positive finite number, got {tol!r}.")
    if not isinstance(on_interrupt, str) or on_interrupt not in ("raise", "keep"):
        raise ValueError(f'on_interrupt must be "raise" or "keep", got {on_interrupt!r}.')
    for name, switch in (("learn_orient", learn_orient), ("select", select)):
        if not isinstance(switch, bool | np.bool_):
            raise ValueError(f"{name} must be True or False, got {switch!r}.")
    if on_sweep is not None and not callable(on_sweep):
        raise TypeError(f"on_sweep must be a function or None, got {on_sweep!r}.")


def as_covariance(noise_temporal: ArrayLike) -> np.ndarray:
    """Return the temporal covariance of the noise as a matrix.

    Parameters
    ----------
    noise_temporal : array_like, shape (n_times,) | (n_times, n_times)
        A covariance, or its first column if it is Toeplitz.

    Returns
    -------
    covariance : ndarray, shape (n_times, n_times)
        The covariance.
    """
    given = np.asarray(noise_temporal, float)
    return toeplitz(given) if given.ndim == 1 else given


def _check_noise_temporal(given, n_times: int | None) -> None:
    """Raise if a temporal covariance of the noise is none, or not one of the data's times."""
    name = "noise_temporal"
    given = _real_array(given, name, '"shared", "white" or a covariance of real numbers')
    covariance = as_covariance(given)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or not covariance.size:
        raise ValueError(
            f"{name} must have the shape (n_times,) or (n_times, n_times), got {given.shape}."
        )
    if n_times is not None and len(covariance) != n_times:
        raise ValueError(
            f"{name} has the shape {covariance.shape}, but the data have {n_times} times."
        )
    if np.abs(covariance - covariance.T).max() > 1e-8 * np.abs(covariance).max():
        raise ValueError(
            f"{name} is not symmetric, as a covariance must be: pass (c + c.T) / 2, or its first "
            "column."
        )
    try:
        root = np.linalg.cholesky(covariance)
        regular = np.diag(root).min() ** 2 > _SINGULAR * covariance.diagonal().max()
    except np.linalg.LinAlgError:
        regular = False
    if not regular:
        raise ValueError(
            f"{name} is not positive definite: add a small white part to its diagonal."
        )


def check_arrays(
    data: ArrayLike, gain: ArrayLike, n_orient: int, noise_basis: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return data, gain and noise basis as arrays that fit together, or raise.

    Parameters
    ----------
    data : array_like, shape (n_trials, n_sensors, n_times)
        Whitened data.
    gain : array_like, shape (n_sensors, n_locations * n_orient)
        Whitened gain.
    n_orient : int
        Number of components of a location.
    noise_basis : array_like, shape (n_sensors, n_noise) | None
        Columns along which the noise is independent.

    Returns
    -------
    data, gain, noise_basis : ndarray
        The arrays; the basis stays None.
    """
    data, gain = _real_array(data, "data"), _real_array(gain, "gain")
    if data.ndim != 3 or 0 in data.shape:
        more = ": pass data[np.newaxis]" if data.ndim == 2 and data.size else ""
        raise ValueError(
            f"data must have the shape (n_trials, n_sensors, n_times), got {data.shape}{more}."
        )
    n_sensors = data.shape[1]
    if gain.ndim != 2 or len(gain) != n_sensors or not gain.size:
        raise ValueError(
            f"gain must have the shape (n_sensors, n_locations * n_orient) with the {n_sensors} "
            f"sensors of the data, got {gain.shape}."
        )
    if not _is_number(n_orient, Integral) or n_orient < 1 or gain.shape[1] % n_orient:
        raise ValueError(
            f"n_orient must be a positive integer that divides the {gain.shape[1]} columns of the "
            f"gain, got {n_orient!r}."
        )
    if not np.any(data):
        raise ValueError("The data are zero throughout: there is nothing to estimate.")
    if not np.any(gain):
        raise ValueError("The gain is zero throughout: no location has a field at the sensors.")
    for name, array in (("data", data), ("gain", gain)):
        size = np.abs(array).max()
        if not 1 / _SCALE < size < _SCALE:
            raise ValueError(
                f"The largest magnitude of {name} is {size:g}: whiten data and gain, so that noise "
                "has about the variance 1."
            )
    if noise_basis is not None:
        noise_basis = _real_array(noise_basis, "noise_basis")
        if noise_basis.ndim != 2 or len(noise_basis) != n_sensors:
            raise ValueError(
                f"noise_basis must have the shape (n_sensors, n_noise) with the {n_sensors} "
                f"sensors of the data, got {noise_basis.shape}."
            )
        rank = np.linalg.matrix_rank(noise_basis)
        if rank < n_sensors:
            raise ValueError(
                f"noise_basis has the rank {rank}, but there are {n_sensors} sensors: all need "
                "noise. Project data, gain and noise_basis onto its range."
            )
    return data, gain, noise_basis


def _is_number(value, kind=Real) -> bool:
    """Is it one real number, and no switch."""
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def _real_array(given, name: str, what: str = "an array of real numbers") -> np.ndarray:
    """Return finite real numbers as an array of floats, or raise by the argument's name."""
    if np.ma.isMaskedArray(given):
        raise ValueError(
            f"{name} is a masked array: leave the masked entries out, or pass {name}.filled(value)."
        )
    try:
        array = np.asarray(given)
    except ValueError:  # rows of several lengths
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        kind = "complex numbers" if array.dtype.kind == "c" else type(given).__name__
        raise TypeError(f"{name} must be {what}, got {kind}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but has entries that are NaN or infinite.")
    return array.astype(float, copy=False)
