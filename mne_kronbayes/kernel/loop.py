"""Type-II likelihood of a Kronecker space-time model, lowered by majorization-minimization."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.linalg import toeplitz

from mne_kronbayes.kernel.linalg import solve_riccati
from mne_kronbayes.kernel.noise import NOISE, NoiseModel
from mne_kronbayes.kernel.own_time import NoiseTime, Separable
from mne_kronbayes.kernel.posterior import KroneckerPosterior, SeparablePosterior
from mne_kronbayes.kernel.pruning import admit, eliminate
from mne_kronbayes.kernel.shared_time import Kronecker
from mne_kronbayes.kernel.state import State, location_slopes, orient_slopes
from mne_kronbayes.kernel.temporal import TEMPORAL, TemporalFamily

_SAFE = 0.5  # exponent of majorization-minimization, which cannot raise the cost
_STRIDE, _GROWTH = 2.0, 1.3  # longest bold step, in log variance, and its growth
_WARM_UP = 2  # sweeps before sources are switched off: the first judgements are coarse
_PER_SENSOR = 20  # locations that stay on in these sweeps
_STAY = 1e-12  # of the slope keeps orientations that are off, or without a field, as they are
_PATIENCE = 5  # sweeps over which the decrease is averaged: a bold step may gain little
_NOISE_FLOOR = 1e-5  # of the data's mean power (-50 dB); an overcomplete gain could explain all


@dataclass(frozen=True, eq=False)
class DughResult:
    """What `dugh` learned.

    Attributes
    ----------
    data : ndarray, shape (n_trials, n_sensors, n_times)
        The data as given.
    posterior : KroneckerPosterior | SeparablePosterior
        Posterior of the active sources.
    active : ndarray of int, shape (n_active,)
        Locations that are not switched off.
    source_variance : ndarray, shape (n_locations,)
        Learned prior variances gamma, means over components, 0 where switched off.
    source_covariance : ndarray, shape (n_active, n_orient, n_orient)
        Learned prior covariance of the components of each active location.
    noise_variance : ndarray, shape (n_noise,)
        Learned variances along the noise basis (for a full covariance, of the sensors).
    noise_covariance : ndarray, shape (n_sensors, n_sensors)
        Learned noise covariance.
    autocovariance : ndarray, shape (n_times,) | (n_components, n_components)
        First column of the learned temporal covariance if that is Toeplitz, else the whole,
        between the components.
    components : ndarray, shape (n_times, n_components) | None
        Orthonormal temporal components that were used, None for all.
    n_parameters : int
        Number of variances and covariances learned; a source that keeps one of three orientations
        has three.
    log_likelihood : float
        Of the whitened data, given all that was learned; not a number where `components`
        leave some of the data out.
    cost : ndarray, shape (n_iter,)
        Cost before each sweep and after the last, with `select` relative to the price of all
        locations; it never rises.
    converged : bool
        Whether the relative decrease fell below the tolerance.
    """

    data: np.ndarray
    posterior: KroneckerPosterior | SeparablePosterior
    active: np.ndarray
    source_variance: np.ndarray
    source_covariance: np.ndarray
    noise_variance: np.ndarray
    noise_covariance: np.ndarray
    autocovariance: np.ndarray
    components: np.ndarray | None
    n_parameters: int
    log_likelihood: float
    cost: np.ndarray
    converged: bool

    @property
    def sources(self) -> np.ndarray:
        """Posterior mean of all sources, shape (n_trials, n_locations * n_orient, n_times)."""
        n_orient = len(self.posterior.kernel) // len(self.active)
        n_trials, _, n_times = self.data.shape
        sources = np.zeros((n_trials, len(self.source_variance), n_orient, n_times))
        found = self.posterior.mean(self.data)
        sources[:, self.active] = found.reshape(n_trials, -1, n_orient, n_times)
        return sources.reshape(n_trials, -1, n_times)

    @property
    def temporal_covariance(self) -> np.ndarray:
        """Learned temporal covariance B, shape (n_times, n_times).

        With learned noise its trace is the number of temporal dimensions used (n_times, for
        "full" with little data fewer).
        """
        learned = self.autocovariance
        if learned.ndim == 1:
            return toeplitz(learned)
        return learned if self.components is None else self.components @ learned @ self.components.T


def dugh(
    data: np.ndarray,
    gain: np.ndarray,
    n_orient: int = 1,
    *,
    temporal: str | Callable[[int], TemporalFamily] = "toeplitz",
    noise: str | Callable[[np.ndarray, float, float, int], NoiseModel] = "diagonal",
    noise_basis: np.ndarray | None = None,
    noise_temporal: str | np.ndarray = "shared",
    learn_orient: bool = False,
    occam: float = 1.0,
    select: bool = False,
    max_iter: int = 200,
    tol: float = 1e-5,
    on_sweep: Callable[[int, float], None] | None = None,
    on_interrupt: str = "raise",
) -> DughResult:
    r"""Learn source variances, temporal covariance and noise, then estimate the sources.

    The model of each trial g is :math:`Y_g = L X_g + E_g` with sources and noise that share a
    temporal covariance B (Hashemi et al. 2021, equations 1 to 5). The cost is

    .. math:: T \log|\Sigma| + M \log|B| + \frac1G \sum_g
              \mathrm{tr}(\Sigma^{-1} Y_g B^{-1} Y_g^\top),\quad
              \Sigma = L \Gamma L^\top + \Lambda ,

    or the same for noise with a temporal covariance of its own. With `occam` above 1, it has
    :math:`(\mathrm{occam} - 1)\, T (\log|\Sigma| - \log|\Lambda|)` more. With `select`, each of the
    :math:`N_a` active of N locations adds the price :math:`c/G`, :math:`c = 2 \log N + \log(T G)`,
    of the extended Bayesian information criterion (Chen & Chen 2008).

    Parameters
    ----------
    data : ndarray, shape (n_trials, n_sensors, n_times)
        Whitened data Y.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Whitened gain L.
    n_orient : int
        Components of a location, which share one variance.
    temporal : str | callable
        Key of ``mne_kronbayes.kernel.temporal.TEMPORAL``, or such a class.
    noise : str | callable
        Key of ``mne_kronbayes.kernel.noise.NOISE``, or such a class.
    noise_basis : ndarray, shape (n_sensors, n_noise) | None
        Columns P along which the noise is independent; the identity if None.
    noise_temporal : "shared" | "white" | ndarray, shape (n_times,) | (n_times, n_times)
        Temporal covariance Upsilon of the noise: that of the sources, white, or as given (its first
        column is enough where it is Toeplitz); only its shape counts.
    learn_orient : bool
        Once it is known which locations are active, learn the covariance between the components of
        each. Else they share one variance.
    occam : float
        How often the sources' part of the log-determinant counts, from 1 on: sources pay so many
        times for what they could explain, as a guard against errors of the gain. With known noise
        and white time courses it is the same as so many times the noise.
    select : bool
        Switch off sources that do not gain their price c in evidence. Without it, only sources
        without which the cost is lower go.
    max_iter : int
        At most so many sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term, which
        is about ``n_sensors * n_times`` whatever the scale of the data; mean over five sweeps.
    on_sweep : callable | None
        Called with the number and the cost of each sweep.
    on_interrupt : "raise" | "keep"
        What Ctrl-C does: stop with an error, or return what the last sweep learned.

    Returns
    -------
    result : DughResult
        Estimate and certificate.

    Notes
    -----
    A sweep costs :math:`O(M^2 (N_a + G T))` for M sensors, and what the temporal family takes. It
    first tries a long step: that of the fixed-point update of MacKay (1992) or longer. In the first
    two sweeps only the 20 M locations stay whose slopes promise most, from the third on each source
    is switched off whose variance would best be zero while the others stay (Tipping & Faul 2003).
    The step is kept only where the cost falls; else the majorization-minimization step is taken,
    for which it must. Slopes of thousands of locations have single precision, the cost never.

    With `learn_orient`, a location has the covariance
    :math:`\gamma_n C_n C_n^\top` between its components. Its majorization-minimization step is a
    geometric mean of matrices (Wipf et al. 2010), of which, too, longer steps are tried.

    Where the sweeps settle, sources that are off enter if they lower the cost by more than their
    price, for which all N locations are looked at, :math:`O(M^2 N)`; with `select`, those that do
    not save it leave. Sweeps go on until neither happens.

    References
    ----------
    Chen, J. & Chen, Z. (2008). Extended Bayesian information criteria for model selection with
    large model spaces. Biometrika 95, 759-771.

    Hashemi, A. et al. (2021). Efficient hierarchical Bayesian inference for spatio-temporal
    regression models in neuroimaging. NeurIPS 34, arXiv:2111.01692.

    Tipping, M. E. & Faul, A. C. (2003). Fast marginal likelihood maximisation for sparse Bayesian
    models. Proceedings of AISTATS.

    Wipf, D. P., Owen, J. P., Attias, H. T., Sekihara, K. & Nagarajan, S. S. (2010). Robust
    Bayesian estimation of the location, orientation, and time course of multiple correlated neural
    sources using MEG. NeuroImage 49, 641-655.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_kronbayes.kernel.loop import dugh
    >>> rng = np.random.default_rng(0)
    >>> gain = rng.standard_normal((20, 100))
    >>> data = np.outer(gain[:, 42], np.sin(np.arange(30) / 3))
    >>> result = dugh(data[None] + 0.1 * rng.standard_normal((1, 20, 30)), gain)
    >>> int(result.source_variance.argmax())
    42
    """
    family = _lookup(TEMPORAL, temporal, "temporal")
    model = _lookup(NOISE, noise, "noise")
    if not np.any(data):
        raise ValueError("The data are zero throughout: there is nothing to estimate.")
    if on_interrupt not in ("raise", "keep"):
        raise ValueError(f'on_interrupt must be "raise" or "keep", got {on_interrupt!r}.')
    if not occam >= 1:
        raise ValueError(f"occam must be at least 1, got {occam}.")
    n_trials, n_sensors, n_times = data.shape
    components = _components(data, family.n_components(n_sensors * n_trials, n_times))
    rows = data.transpose(1, 0, 2)
    rows = np.ascontiguousarray(rows if components is None else rows @ components)
    power = np.mean(rows**2)
    basis = np.eye(n_sensors) if noise_basis is None else noise_basis

    share = 0.5 * power * n_sensors
    n_locations = gain.shape[1] // n_orient
    state = State(
        gain=gain,
        active=np.arange(n_locations),
        gamma=np.full(n_locations, share / np.vdot(gain, gain)),
        orient=np.tile(np.eye(n_orient), (n_locations, 1, 1)),
        noise=model(basis, share / np.sum(basis**2), _NOISE_FLOOR * power, n_trials * n_times),
        time=family(rows.shape[2]),
    )
    price = (np.log(n_trials * n_times) + 2 * np.log(n_locations)) / n_trials
    evaluate = partial(Kronecker, data=rows, occam=occam)
    if not isinstance(noise_temporal, str) or noise_temporal != "shared":
        noise_time = _noise_time(noise_temporal, n_times, components)
        evaluate = partial(Separable, data=rows, noise_time=noise_time, occam=occam)
    costs, converged = [], False
    try:
        sweeps = _sweeps(
            state, evaluate, tol * rows[:, 0].size, price, select, learn_orient and n_orient > 1
        )
        for likelihood in sweeps:
            n_off = n_locations - len(likelihood.state.active) if select else 0
            costs.append(likelihood.cost - price * n_off)
            if on_sweep is not None:
                on_sweep(len(costs) - 1, costs[-1])
            if len(costs) > max_iter:
                break
        else:
            converged = True
    except KeyboardInterrupt:
        if on_interrupt == "raise" or not costs:
            raise
    state, time = likelihood.state, likelihood.state.time
    rank = state.orient.any(axis=1).sum(axis=1)
    n_free = rank * n_orient - rank * (rank - 1) // 2 if learn_orient else np.ones_like(rank)
    autocovariance = time.covariance if time.column is None else time.column
    source_variance = np.zeros(n_locations)
    source_variance[state.active] = state.gamma
    return DughResult(
        data=data,
        posterior=likelihood.posterior(components),
        active=state.active,
        source_variance=source_variance,
        source_covariance=state.prior,
        noise_variance=state.noise.variance,
        noise_covariance=state.noise.covariance,
        autocovariance=autocovariance,
        components=components,
        n_parameters=int(n_free.sum()) + state.noise.n_parameters + time.n_parameters,
        log_likelihood=likelihood.log_likelihood if components is None else np.nan,
        cost=np.array(costs),
        converged=converged,
    )


def _sweeps(
    state: State, evaluate: Callable, threshold: float, price: float, select: bool, turn: bool
) -> Iterator:
    """Yield the likelihood before each sweep and after the last, where the cost settles.

    Wherever it settles, sources may enter that would save their price, and with `select` those
    leave that do not. Where neither happens, `turn` lets orientations be learned, too.
    """
    gain, likelihood, stride, recent = state.gain, evaluate(state), _STRIDE, []
    turning = False
    for sweep in itertools.count():
        recent.append(likelihood.cost)
        yield likelihood
        if len(recent) > _PATIENCE and recent[-1 - _PATIENCE] - recent[-1] < _PATIENCE * threshold:
            settled = likelihood
            if select:
                likelihood = eliminate(likelihood, price, evaluate)
            likelihood = admit(likelihood, gain, price, evaluate)
            if likelihood is settled and turning == turn:
                return
            turning, recent = turning or (turn and likelihood is settled), []
            continue
        moved = likelihood.update_time()
        step, kept = _step(moved, sweep < _WARM_UP, turning)
        likelihood = evaluate(step(stride).keep(kept))
        stride = min(_GROWTH * stride, _STRIDE)
        if likelihood.cost > moved.cost:
            likelihood, stride = evaluate(step(_SAFE)), 1.0


def _components(data: np.ndarray, n_components: int) -> np.ndarray | None:
    """Leading temporal components of the data, orthonormal columns of shape (T, n)."""
    n_times = data.shape[2]
    if n_components >= n_times:
        return None
    rows = data.reshape(-1, n_times)
    return np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :n_components]


def _noise_time(given, n_times: int, components: np.ndarray | None) -> NoiseTime:
    """Temporal covariance of the noise, scaled to trace T."""
    if isinstance(given, str):
        if given != "white":
            raise ValueError(
                f'noise_temporal must be "shared", "white" or a covariance, got {given!r}.'
            )
        given = np.eye(n_times)
    given = np.asarray(given, float)
    if given.ndim == 1:
        given = toeplitz(given)
    if given.shape != (n_times, n_times):
        raise ValueError(
            f"noise_temporal has the shape {given.shape}, but the data have {n_times} times."
        )
    given = given * n_times / np.trace(given)
    if components is not None:
        given = components.T @ given @ components
    try:
        return NoiseTime(given)
    except np.linalg.LinAlgError:
        raise ValueError(
            "noise_temporal is not positive definite: add a small white part to its diagonal."
        ) from None


def _lookup(registry: dict, key, what: str):
    """Return an entry by name, or the callable given in its place."""
    if callable(key):
        return key
    if key not in registry:
        raise ValueError(f"{what} must be one of {sorted(registry)} or a callable, got {key!r}.")
    return registry[key]


def _step(likelihood, coarse: bool, turn: bool) -> tuple[Callable[[float], State], np.ndarray]:
    """Return the update of variances as a function of its length, and which locations to keep.

    With `turn` the variances are those of all orientations.

    The exponent 1/2 is majorization-minimization, 1 the fixed-point update. Kept are those whose
    variance would not best be zero while the others stay (Tipping & Faul 2003; exact for one
    orientation); while judgements are coarse, the best few per sensor.
    """
    state = likelihood.state
    source, (noise_log, noise_fit) = likelihood.slopes
    log_slope, fit_slope = location_slopes(source, state.gain, state.n_orient)
    ratio = fit_slope / log_slope
    if coarse:
        kept = ratio >= np.sort(ratio)[-_PER_SENSOR * len(state.gain) :][0]
    else:
        kept = ratio >= 1 - state.gamma * log_slope / likelihood.occam
        kept[ratio.argmax()] = True

    if turn:
        s, q = orient_slopes(source, state.gain, state.n_orient)
        stay = _STAY * log_slope[:, None, None] * np.eye(state.n_orient)
        values, axes = np.linalg.eigh(solve_riccati(s + stay, q + stay))
        values = np.maximum(values, 0)[:, None]

    def take(exponent: float) -> State:
        noise = state.noise.step(noise_log, noise_fit, exponent)
        if turn:
            return replace(state, noise=noise).turn(axes * values**exponent)
        return replace(state, gamma=state.gamma * ratio**exponent, noise=noise)

    return take, kept
