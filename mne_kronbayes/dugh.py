"""Type-II likelihood of a Kronecker space-time model, lowered by majorization-minimization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from mne_kronbayes.noise import NOISE
from mne_kronbayes.temporal import TEMPORAL, TemporalFamily

_PRUNE = 1e-10  # of the largest source's sensor power: invisible in the cost
_STRIDE, _GROWTH = 2.0, 1.3  # longest bold step, in log variance, and its growth
_PATIENCE = 5  # sweeps over which the decrease is averaged: a bold step may gain little
_NOISE_FLOOR = 1e-5  # of the data's mean power (-50 dB); an overcomplete gain could explain all


@dataclass(frozen=True, eq=False)
class DughResult:
    """What `dugh` learned.

    Attributes
    ----------
    sources : ndarray, shape (n_trials, n_sources, n_times)
        Posterior mean.
    source_variance : ndarray, shape (n_locations,)
        Learned prior variances gamma, 0 where pruned.
    temporal_covariance : ndarray, shape (n_times, n_times)
        Learned temporal covariance B. With learned noise its trace is the number of temporal
        dimensions used (n_times, for "full" with little data fewer).
    noise_variance : ndarray, shape (n_sensors,)
        Learned variances along the noise basis.
    cost : ndarray, shape (n_iter,)
        Type-II cost before each sweep and after the last; it never rises.
    converged : bool
        Whether the relative decrease fell below the tolerance.
    """

    sources: np.ndarray
    source_variance: np.ndarray
    temporal_covariance: np.ndarray
    noise_variance: np.ndarray
    cost: np.ndarray
    converged: bool


@dataclass
class _State:
    """Where the loop stands: the active sources' gain and all variances."""

    gain: np.ndarray  # (n_sensors, n_active)
    active: np.ndarray  # (n_active,) columns of the whole gain
    gamma: np.ndarray  # (n_active,)
    noise: np.ndarray  # (n_noise,)


def dugh(
    data: np.ndarray,
    gain: np.ndarray,
    n_orient: int = 1,
    *,
    temporal: str | Callable[[int], TemporalFamily] = "toeplitz",
    noise: str | Callable = "diagonal",
    noise_basis: np.ndarray | None = None,
    max_iter: int = 200,
    tol: float = 1e-5,
    on_sweep: Callable[[int, float], None] | None = None,
) -> DughResult:
    r"""Learn source variances, temporal covariance and noise, then estimate the sources.

    The model of each trial g is :math:`Y_g = L X_g + E_g` with sources and noise that share a
    temporal covariance B (Hashemi et al. 2021, equations 1 to 5). The cost is

    .. math:: T \log|\Sigma| + M \log|B| + \frac1G \sum_g
              \mathrm{tr}(\Sigma^{-1} Y_g B^{-1} Y_g^\top),\quad
              \Sigma = L \Gamma L^\top + P \Lambda P^\top .

    Parameters
    ----------
    data : ndarray, shape (n_trials, n_sensors, n_times)
        Whitened data Y.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Whitened gain L.
    n_orient : int
        Components of a location, which share one variance.
    temporal : str | callable
        Key of ``mne_kronbayes.temporal.TEMPORAL``, or such a class.
    noise : str | callable
        Key of ``mne_kronbayes.noise.NOISE``, or such a function.
    noise_basis : ndarray, shape (n_sensors, n_noise) | None
        Columns P along which the noise is independent; the identity if None.
    max_iter : int
        At most so many sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term, which
        is about ``n_sensors * n_times`` whatever the scale of the data; mean over five sweeps.
    on_sweep : callable | None
        Called with the number and the cost of each sweep.

    Returns
    -------
    result : DughResult
        Estimate and certificate.

    Notes
    -----
    A sweep costs :math:`O(M^2 (N + G T) + T^3)` for M sensors and N active sources. It first
    tries the step of twice the length in log variance (the fixed-point update of MacKay
    1992), which is kept only where the cost falls, else the majorization-minimization step,
    for which it must.

    References
    ----------
    Hashemi, A. et al. (2021). Efficient hierarchical Bayesian inference for spatio-temporal
    regression models in neuroimaging. NeurIPS 34, arXiv:2111.01692.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_kronbayes.dugh import dugh
    >>> rng = np.random.default_rng(0)
    >>> gain = rng.standard_normal((20, 100))
    >>> data = np.outer(gain[:, 42], np.sin(np.arange(30) / 3))
    >>> result = dugh(data[None] + 0.1 * rng.standard_normal((1, 20, 30)), gain)
    >>> int(result.source_variance.argmax())
    42
    """
    n_trials, n_sensors, n_samples = data.shape
    power = np.mean(data**2)
    if not power > 0:
        raise ValueError("The data are zero throughout: there is nothing to estimate.")
    flat = np.ascontiguousarray(data.transpose(1, 0, 2)).reshape(n_sensors, -1)
    family = _lookup(TEMPORAL, temporal, "temporal")
    components = _components(data, family.n_components(n_sensors * n_trials, n_samples))
    n_times = components.shape[1]
    learned = flat
    if n_times < n_samples:
        learned = (data.transpose(1, 0, 2) @ components).reshape(n_sensors, -1)
        power = np.mean(learned**2)
    family = family(n_times)
    model = _lookup(NOISE, noise, "noise")
    basis = np.eye(n_sensors) if noise_basis is None else noise_basis
    learn_noise = model is not NOISE["fixed"]

    share = 0.5 * power * n_sensors
    state = _State(
        gain=gain,
        active=np.arange(gain.shape[1]),
        gamma=np.full(gain.shape[1], share / np.sum(gain**2)),
        noise=np.full(basis.shape[1], share / np.sum(basis**2) if learn_noise else 1.0),
    )
    floor = _NOISE_FLOOR * power
    costs, converged = [], False
    step, stride = None, _STRIDE
    while True:
        chol = _factor(state, basis)
        rows = solve_triangular(chol, learned, lower=True).reshape(-1, n_times)
        fit = np.sum(family.whiten(rows) ** 2) / n_trials
        log_det = 2 * np.sum(np.log(np.diag(chol)))
        cost = n_times * log_det + n_sensors * family.log_det + fit
        if step is not None and stride > 0.5 and cost > costs[-1]:
            stride = 0.5  # back to the step that cannot raise the cost
            state = step.take(stride)
            continue
        if on_sweep is not None:
            on_sweep(len(costs), cost)
        costs.append(cost)
        if len(costs) > _PATIENCE:
            gained = (costs[-1 - _PATIENCE] - cost) / _PATIENCE
            converged = gained < tol * n_sensors * n_times
        if converged or len(costs) > max_iter:
            break
        family.update(rows)
        whitened = family.whiten(rows).reshape(n_sensors, -1)
        factor = family.normalize() if learn_noise else 1.0
        step = _Step(state, chol, whitened, basis, n_orient, model, factor, floor)
        stride = min(max(_GROWTH * stride, 1.0), _STRIDE)
        state = step.take(stride)
    solved = cho_solve((chol, True), flat)
    sources = np.zeros((n_trials, gain.shape[1], n_samples))
    posterior = (state.gamma[:, None] * (state.gain.T @ solved)).reshape(-1, n_trials, n_samples)
    sources[:, state.active] = posterior.transpose(1, 0, 2)
    variance = np.zeros(gain.shape[1])
    variance[state.active] = state.gamma
    return DughResult(
        sources=sources,
        source_variance=variance[::n_orient],
        temporal_covariance=components @ family.covariance @ components.T,
        noise_variance=state.noise,
        cost=np.array(costs),
        converged=converged,
    )


def _components(data: np.ndarray, n_components: int) -> np.ndarray:
    """Leading temporal components of the data, orthonormal columns of shape (T, n)."""
    n_times = data.shape[2]
    if n_components >= n_times:
        return np.eye(n_times)
    rows = data.reshape(-1, n_times)
    return np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :n_components]


def _lookup(registry: dict, key, what: str):
    """Return an entry by name, or the callable given in its place."""
    if callable(key):
        return key
    if key not in registry:
        raise ValueError(f"{what} must be one of {sorted(registry)} or a callable, got {key!r}.")
    return registry[key]


def _factor(state: _State, basis: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor of the spatial covariance of the data."""
    sigma = (state.gain * state.gamma) @ state.gain.T + (basis * state.noise) @ basis.T
    return cholesky(sigma, lower=True, overwrite_a=True, check_finite=False)


class _Step:
    """One update of source and noise variances, of any length."""

    def __init__(self, state, chol, whitened, basis, n_orient, model, factor, floor):
        n_sensors = len(chol)
        n_samples = whitened.shape[1]
        inverse = solve_triangular(chol, np.eye(n_sensors), lower=True)
        if n_samples > n_sensors:  # any square root of the same second moment will do
            values, vectors = np.linalg.eigh(whitened @ whitened.T)
            whitened = vectors * np.sqrt(np.maximum(values, 0))
        moment = whitened.T @ inverse / np.sqrt(n_samples)
        both = np.concatenate([inverse, moment])

        def sums(columns, size):
            squares = np.square(both @ columns)
            parts = squares[:n_sensors].sum(axis=0), squares[n_sensors:].sum(axis=0)
            return (p.reshape(-1, size).sum(axis=1) for p in parts)

        denominator, numerator = sums(state.gain, n_orient)
        self._source = np.repeat(numerator / denominator, n_orient)
        denominator, numerator = sums(basis, 1)
        self._noise = model(numerator, denominator)
        self._state, self._factor, self._floor = state, factor, floor
        self._n_orient = n_orient

    def take(self, exponent: float) -> _State:
        """Return the new state; exponent 1/2 is majorization-minimization."""
        old = self._state
        gamma = self._factor * old.gamma * self._source**exponent
        noise = old.noise * self._noise**exponent
        noise = self._factor * np.maximum(noise, np.minimum(self._floor, old.noise))
        seen = (gamma * np.sum(old.gain**2, axis=0)).reshape(-1, self._n_orient).sum(axis=1)
        keep = np.repeat(seen > _PRUNE * seen.max(), self._n_orient)
        if keep.all():
            return _State(old.gain, old.active, gamma, noise)
        return _State(old.gain[:, keep], old.active[keep], gamma[keep], noise)
