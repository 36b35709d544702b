"""fit_eloreta is MNE's eLORETA, and adds the residual that MNE leaves out."""

from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.solvers import eloreta as baselines

fit_eloreta = partial(baselines.fit_eloreta, verbose=False)


@pytest.fixture(scope="module")
def simulations(forwards, eeg_info, eeg_cov):
    """Two sources in noise, for every kind of source space."""
    simulate = partial(simulate_evoked, sources=2, tmax=0.1, n_trials=20, rng=0, verbose=False)
    return {kind: simulate(forward, eeg_info, eeg_cov) for kind, forward in forwards.items()}


def apply_mne(evoked, forward, noise_cov, *, lambda2=1 / 9, pick_ori=None, **options):
    inverse = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise_cov, depth=None, verbose=False, **options
    )
    return mne.minimum_norm.apply_inverse(
        evoked, inverse, lambda2, "eLORETA", pick_ori=pick_ori, verbose=False
    )


def assert_same(stc, expected):
    assert type(stc) is type(expected)
    assert stc.subject == expected.subject
    for ours, theirs in zip(stc.vertices, expected.vertices, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(stc.times, expected.times, atol=1e-12)
    np.testing.assert_allclose(stc.data, expected.data, atol=1e-9 * np.abs(expected.data).max())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("surface", dict(loose=0.0)),
        *(
            (kind, dict(loose=loose, pick_ori=pick_ori))
            for kind, looses, pick_oris in [
                ("surface", (0.2, 1.0), (None, "normal", "vector")),
                ("volume", (1.0,), (None, "vector")),
                ("discrete", (1.0,), (None, "vector")),
            ]
            for loose in looses
            for pick_ori in pick_oris
        ),
        ("surface", dict(lambda2=0.5)),
        ("volume", dict(lambda2=1e-3)),
    ],
    ids=str,
)
def test_equals_mne(simulations, forwards, kind, options):
    simulation, forward = simulations[kind], forwards[kind]
    given = simulation.evoked, forward, simulation.noise_cov
    assert_same(fit_eloreta(*given, **options).stc, apply_mne(*given, **options))


def test_normal_of_discrete_sources(simulations, forwards):
    """MNE takes the head's z axis for it, unless the forward solution is in surface coordinates."""
    simulation, forward = simulations["discrete"], forwards["discrete"]
    turned = mne.convert_forward_solution(forward, surf_ori=True, verbose=False)
    expected = apply_mne(simulation.evoked, turned, simulation.noise_cov, pick_ori="normal")
    result = fit_eloreta(simulation.evoked, forward, simulation.noise_cov, pick_ori="normal")
    assert_same(result.stc, expected)


def test_without_noise_covariance_it_takes_an_ad_hoc_one(simulations, forwards):
    evoked, forward = simulations["surface"].evoked, forwards["surface"]
    expected = apply_mne(evoked, forward, mne.make_ad_hoc_cov(evoked.info, verbose=False))
    assert_same(fit_eloreta(evoked, forward).stc, expected)


def test_bad_channels_and_those_missing_in_the_forward_solution_are_left_out(simulations, forwards):
    simulation, forward = simulations["surface"], forwards["surface"]
    evoked, noise_cov = simulation.evoked.copy(), simulation.noise_cov
    evoked.info["bads"] = evoked.ch_names[:2]
    fewer = mne.pick_channels_forward(forward, forward.ch_names[:-3], ordered=True, verbose=False)
    result = fit_eloreta(evoked, fewer, noise_cov)
    expected = fit_eloreta(evoked.copy().pick(evoked.ch_names[2:-3]), forward, noise_cov)
    assert result.residual.ch_names == evoked.ch_names[2:-3]
    assert_same(result.stc, expected.stc)


@pytest.mark.parametrize("pick_ori", [None, "vector"])
@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_residual_agrees_with_the_explained_variance(simulations, forwards, kind, pick_ori):
    simulation, forward = simulations[kind], forwards[kind]
    given = simulation.evoked, forward, simulation.noise_cov
    result = fit_eloreta(*given, pick_ori=pick_ori)
    problem = prepare_problem(*given, depth=None, verbose=False)
    left = np.sum((problem.whitener @ result.residual.data) ** 2) / np.sum(problem.data[0] ** 2)
    assert 0 < left < 0.5
    np.testing.assert_allclose(result.explained_variance, 100 * (1 - left))


def test_residual_is_what_the_vectors_leave(simulations, forwards):
    simulation, forward = simulations["volume"], forwards["volume"]
    result = fit_eloreta(simulation.evoked, forward, simulation.noise_cov, pick_ori="vector")
    field = forward["sol"]["data"] @ result.stc.data.reshape(forward["sol"]["ncol"], -1)
    field -= field.mean(axis=0)
    data = simulation.evoked.data
    np.testing.assert_allclose(result.residual.data, data - field, atol=1e-9 * np.abs(data).max())


def test_data_stay_as_they_are(simulations, forwards):
    simulation, forward = simulations["surface"], forwards["surface"]
    evoked, gain = simulation.evoked.copy(), forward["sol"]["data"].copy()
    fit_eloreta(simulation.evoked, forward, simulation.noise_cov)
    np.testing.assert_array_equal(simulation.evoked.data, evoked.data)
    np.testing.assert_array_equal(forward["sol"]["data"], gain)


def test_settings_are_kept_for_reports(simulations, forwards):
    simulation = simulations["surface"]
    result = fit_eloreta(simulation.evoked, forwards["surface"], simulation.noise_cov, lambda2=0.2)
    assert result.settings["lambda2"] == 0.2
    assert result.cost is None
