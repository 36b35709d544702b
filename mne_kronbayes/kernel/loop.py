"""Type-II likelihood of a space-time model, lowered by majorization-minimization (Dugh)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mne_kronbayes.kernel.likelihood import Likelihood
from mne_kronbayes.kernel.noise import NOISE, NoiseModel
from mne_kronbayes.kernel.options import as_covariance, check_arrays, check_options, lookup
from mne_kronbayes.kernel.own_time import NoiseTime, OwnTime
from mne_kronbayes.kernel.pruning import columns_of
from mne_kronbayes.kernel.result import DughResult, summarize
from mne_kronbayes.kernel.shared_time import SharedTime
from mne_kronbayes.kernel.state import State
from mne_kronbayes.kernel.sweep import Learner
from mne_kronbayes.kernel.temporal import TEMPORAL, TemporalFamily

_NOISE_FLOOR = 1e-5  # of the data's mean power (-50 dB); an overcomplete gain could explain all
_LEAST_NOISE = 1e-8  # the same (-80 dB), for noise that shrinks with the temporal covariance
_NO_FIELD = 1e-24  # of the strongest field's power: a location that no sensor sees


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
    on_sweep: Callable[[int, float, int], None] | None = None,
    on_interrupt: str = "raise",
) -> DughResult:
    r"""Learn source variances, temporal covariance and noise, then estimate the time courses.

    The model of each trial g is :math:`Y_g = L X_g + E_g`. Sources and noise share a temporal
    covariance B (Hashemi et al. 2021, equations 1 to 5). The cost is

    .. math:: T \log|\Sigma| + M \log|B| + \frac1G \sum_g
              \mathrm{tr}(\Sigma^{-1} Y_g B^{-1} Y_g^\top),\quad
              \Sigma = L \Gamma L^\top + \Lambda ,

    or its like for noise with a temporal covariance of its own. To it, `occam` adds
    :math:`(\mathrm{occam} - 1)\, T (\log|\Sigma| - \log|\Lambda|)`. With `select`, each of the
    :math:`N_a` active of N locations adds the price :math:`c/G`, :math:`c = 2 \log N + \log(T G)`,
    of the extended Bayesian information criterion (Chen & Chen 2008).

    Parameters
    ----------
    data : ndarray, shape (n_trials, n_sensors, n_times)
        Whitened data Y.
    gain : ndarray, shape (n_sensors, n_locations * n_orient)
        Whitened gain L.
    n_orient : int
        Number of components of a location.
    temporal : str | callable
        Key of ``mne_kronbayes.kernel.temporal.TEMPORAL``, or a class of that kind.
    noise : str | callable
        Key of ``mne_kronbayes.kernel.noise.NOISE``, or a class of that kind.
    noise_basis : ndarray, shape (n_sensors, n_noise) | None
        Columns P along which the noise is independent; the identity if None.
    noise_temporal : "shared" | "white" | ndarray, shape (n_times,) | (n_times, n_times)
        Temporal covariance Upsilon of the noise: that of the sources, white, or as given (its first
        column is enough where it is Toeplitz). Its scale does not matter.
    learn_orient : bool
        Once it is known which locations are active, learn the covariance between the components of
        each. Else, the components of a location share one variance.
    occam : float
        Weight of the sources' log-determinant (Occam) term, at least 1. A larger weight guards
        against errors of the gain, which look like sources. With known noise and white time
        courses, the weight w is the same as w times the noise.
    select : bool
        Switch off sources that do not gain their price c in evidence. Without it, only sources
        leave without which the cost is lower.
    max_iter : int
        Maximum number of sweeps.
    tol : float
        Stop when a sweep lowers the cost by less than this share of its quadratic term, on average
        over five sweeps. That term is about ``n_sensors * n_times``, whatever the scale of the
        data.
    on_sweep : callable | None
        Called with the number of each sweep, the cost after it, and how many locations are active.
    on_interrupt : "raise" | "keep"
        What Ctrl-C does: raise KeyboardInterrupt, or return what the last whole sweep learned.

    Returns
    -------
    result : DughResult
        What was learned, with the cost of each sweep as certificate.

    Notes
    -----
    A sweep costs :math:`O(M^2 (N_a + G T))` for M sensors, and what the temporal family takes. It
    first tries a bold step: that of the fixed-point update of MacKay (1992), or longer. In the
    first two sweeps, this step keeps only the 20 M locations whose slopes promise most. From the
    third on, it switches off each source whose variance would best be zero while the others stay
    (Tipping & Faul 2003). It is taken only where the cost falls. Else the sweep takes the
    majorization-minimization step, for which the cost must fall. Slopes of thousands of locations
    are computed in single precision, the cost never is.

    With `learn_orient`, a location has the covariance :math:`\gamma_n C_n C_n^\top` between its
    components. Its majorization-minimization step is a geometric mean of matrices (Wipf et al.
    2010). Longer steps are tried there, too.

    Of data without noise, an ever smaller covariance would explain ever more. So variances of the
    noise stop at 1e-5 of the data's mean power, and a temporal covariance that noise shares stops
    changing where it would take them below 1e-8.

    Where the cost settles, locations enter that lower it by more than their price: all N are
    examined, :math:`O(M^2 N)`. With `select`, sources that do not save their price leave. Sweeps
    go on until neither happens.

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
    data, gain, noise_basis = check_arrays(data, gain, n_orient, noise_basis)
    n_trials, n_sensors, n_times = data.shape
    check_options(
        temporal=temporal, noise=noise, noise_temporal=noise_temporal, occam=occam,
        max_iter=max_iter, tol=tol, on_interrupt=on_interrupt, learn_orient=learn_orient,
        select=select, on_sweep=on_sweep, n_times=n_times,
    )  # fmt: skip
    n_locations = gain.shape[1] // n_orient
    fields = np.sum(gain**2, axis=0).reshape(n_locations, n_orient).sum(axis=1)
    active = np.flatnonzero(fields > _NO_FIELD * fields.max())
    family = lookup(TEMPORAL, temporal, "temporal")
    components = _components(data, family.n_components(n_sensors * n_trials, n_times))
    rows = data.transpose(1, 0, 2)
    rows = np.ascontiguousarray(rows if components is None else rows @ components)
    power = np.mean(rows**2)
    share = 0.5 * power * n_sensors
    basis = np.eye(n_sensors) if noise_basis is None else noise_basis
    model = lookup(NOISE, noise, "noise")
    state = State(
        gain=gain if len(active) == n_locations else columns_of(gain, active, n_orient),
        active=active,
        gamma=np.full(len(active), share / np.vdot(gain, gain)),
        orient=np.tile(np.eye(n_orient), (len(active), 1, 1)),
        noise=model(basis, share / np.sum(basis**2), _NOISE_FLOOR * power, n_trials * n_times),
        time=family(rows.shape[2]),
    )
    likelihood: Likelihood
    if isinstance(noise_temporal, str) and noise_temporal == "shared":
        likelihood = SharedTime(state, rows, occam, _LEAST_NOISE * power)
    else:
        noise_time = _noise_time(noise_temporal, n_times, components)
        likelihood = OwnTime(state, rows, noise_time, occam)

    learner = Learner(
        gain=gain,
        threshold=tol * rows[:, 0].size,
        price=(np.log(n_trials * n_times) + 2 * np.log(n_locations)) / n_trials,
        select=select,
        learn_orient=learn_orient and n_orient > 1,
    )
    progress, converged = learner.start(likelihood), False
    costs = [learner.cost(progress)]

    def report(sweep: int) -> None:
        if on_sweep is not None:
            on_sweep(sweep, costs[-1], len(progress.likelihood.state.active))

    try:
        report(0)
        for sweep in range(1, max_iter + 1):
            following = learner.advance(progress)
            converged = following is progress
            if converged:
                break
            progress = following
            costs.append(learner.cost(progress))
            report(sweep)
    except KeyboardInterrupt:
        if on_interrupt == "raise":
            raise
    except np.linalg.LinAlgError:
        raise ValueError(
            f"A covariance became singular in sweep {len(costs)}: the sensors depend on each other "
            "more than double precision can tell. Leave out sensors that are sums of others, or "
            'pass noise="scalar", temporal="identity".'
        ) from None
    return summarize(
        progress.likelihood, n_locations=n_locations, components=components,
        learn_orient=learn_orient, cost=costs, converged=converged,
    )  # fmt: skip


def _components(data: np.ndarray, n_components: int) -> np.ndarray | None:
    """Leading temporal components of the data: orthonormal columns, shape (T, n), None for all."""
    n_times = data.shape[2]
    if n_components >= n_times:
        return None
    rows = data.reshape(-1, n_times)
    return np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :n_components]


def _noise_time(given, n_times: int, components: np.ndarray | None) -> NoiseTime:
    """Temporal covariance of the noise, scaled to trace T."""
    given = np.eye(n_times) if isinstance(given, str) else as_covariance(given)
    given = given * n_times / np.trace(given)
    return NoiseTime(given if components is None else components.T @ given @ components)
