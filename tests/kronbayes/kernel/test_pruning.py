"""Sources that leave and enter, one by one or in batches."""

import numpy as np
import pytest

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.pruning import admit, eliminate
from mne_kronbayes.kernel.shared_time import SharedTime
from mne_kronbayes.kernel.state import State
from mne_kronbayes.kernel.sweep import propose
from mne_kronbayes.kernel.temporal import TEMPORAL


def likelihood_of_all(data, gain, n_orient=1, variance=2.0):
    """The likelihood at which all locations are sources of one variance."""
    n_locations = gain.shape[1] // n_orient
    state = State(
        gain, np.arange(n_locations), np.full(n_locations, variance),
        np.tile(np.eye(n_orient), (n_locations, 1, 1)),
        NOISE["fixed"](0.5 * np.eye(16), 1.0, 0.0, 1), TEMPORAL["identity"](30),
    )  # fmt: skip
    return SharedTime(state, np.ascontiguousarray(data.transpose(1, 0, 2)))


@pytest.fixture
def spread(in_white_noise):
    """A likelihood at which 40 sources share what two of them do, and these two."""
    data, gain, active = in_white_noise(n_locations=40)
    return likelihood_of_all(data, gain), active


def test_elimination_leaves_the_true_sources_and_lowers_the_cost(spread):
    likelihood, active = spread
    price = 20.0
    fewer = eliminate(likelihood, price)
    n_off = len(likelihood.state.active) - len(fewer.state.active)
    assert n_off > 20
    assert fewer.cost - likelihood.cost <= price * n_off
    assert set(active) <= set(fewer.state.active)
    assert fewer.shift_costs(fewer.state.gain, -fewer.state.gamma).min() >= price
    assert eliminate(fewer, price) is fewer


def test_twins_do_not_leave_together(in_white_noise):
    """Two sources with the same field: one is enough, none is too few."""
    data, gain, active = in_white_noise(n_locations=40)
    twins = likelihood_of_all(data, np.c_[gain, gain[:, active]], variance=10.0)
    fewer = eliminate(twins, 20.0)
    for k, twin in zip(active, (40, 41), strict=True):
        assert len({k, twin} & set(fewer.state.active)) == 1


def test_one_source_stays_whatever_the_price(spread):
    assert len(eliminate(spread[0], 1e9).state.active) == 1


def test_a_step_keeps_sources_whose_variance_would_not_best_be_zero(spread):
    likelihood, active = spread
    kept = propose(likelihood, coarse=False, orient=False).kept
    state = likelihood.state
    costs = likelihood.shift_costs(state.gain, -state.gamma)
    assert set(active) <= set(np.flatnonzero(kept)) < set(range(40))
    assert (costs[~kept] < 0).all()


def test_a_step_keeps_the_best_source_where_none_is_worth_it(in_white_noise):
    data, gain, _ = in_white_noise(n_locations=40)
    step = propose(likelihood_of_all(1e-6 * data, gain), coarse=False, orient=False)
    assert list(np.flatnonzero(step.kept)) == [step.ratio.argmax()]


@pytest.mark.parametrize("n_orient", [1, 3])
def test_a_source_that_is_missed_enters_and_no_other(n_orient, in_white_noise):
    """With three components, of which all but one are faint, as with a loose constraint."""
    data, gain, active = in_white_noise()
    gain = np.stack([gain] + [0.1 * np.roll(gain, k, axis=1) for k in range(1, n_orient)], axis=2)
    gain = gain.reshape(len(gain), -1)
    everything = likelihood_of_all(data, gain, n_orient)
    likelihood = everything.at(everything.state.keep(np.arange(60) == active[0]))
    more = admit(likelihood, gain, 20.0)
    assert active[1] in more.state.active
    assert more.cost < likelihood.cost - 20.0 * (len(more.state.active) - 1)
    assert admit(likelihood, gain, 1e9) is likelihood
    both = everything.at(everything.state.keep(np.isin(np.arange(60), active)))
    assert admit(both, gain, 20.0) is both


@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
@pytest.mark.parametrize("temporal", sorted(TEMPORAL))
def test_selection_leaves_few_sources(temporal, noise_temporal, in_white_noise):
    data, gain, active = in_white_noise(n_locations=100, n_trials=10)
    options = dict(temporal=temporal, noise_temporal=noise_temporal, tol=1e-4)
    everything = dugh(data, gain, **options)
    result = dugh(data, gain, select=True, **options)
    assert result.converged
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    assert set(active) <= set(result.active)
    assert len(result.active) <= min(4, len(everything.active))
    if noise_temporal == "shared":  # in noise known to be white, none may be left to select
        assert len(everything.active) > 4
    assert result.cost[-1] < everything.cost[-1]
    strength = np.linalg.norm(result.mean(data), axis=(0, 2))
    assert set(np.argsort(strength)[-2:]) == set(active)
