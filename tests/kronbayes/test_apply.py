"""apply_kron_bayes on MNE objects: every class, real EEG, limits, bad input."""

import inspect

import mne
import numpy as np
import pytest
from frozen import sep_forward
from threadpoolctl import threadpool_info, threadpool_limits

import mne_kronbayes
from mne_invkit.cli.demo import HAND_AREA
from mne_invkit.inverse.result import Result
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.viz.snapshot import take_snapshot
from mne_kronbayes import apply_kron_bayes, fit_kron_bayes
from mne_kronbayes.kernel.temporal import TEMPORAL

# %% What comes back


@pytest.mark.parametrize(
    ("kind", "pick_ori", "expected"),
    [
        ("surface", None, mne.SourceEstimate),
        ("surface", "normal", mne.SourceEstimate),
        ("surface", "vector", mne.VectorSourceEstimate),
        ("volume", None, mne.VolSourceEstimate),
        ("volume", "vector", mne.VolVectorSourceEstimate),
        ("discrete", None, mne.VolSourceEstimate),
        ("discrete", "vector", mne.VolVectorSourceEstimate),
        ("mixed", None, mne.MixedSourceEstimate),
        ("mixed", "vector", mne.MixedVectorSourceEstimate),
    ],
)
def test_every_class_of_estimate(kind, pick_ori, expected, eeg_info, forwards, tmp_path):
    forward = forwards[kind]
    truth = forward["nsource"] // 2
    sim = simulate_evoked(
        forward, eeg_info, sources=[truth], snr_db=20, tmax=0.19, rng=1, verbose="error"
    )
    stc = apply_kron_bayes(sim.evoked, forward, sim.noise_cov, pick_ori=pick_ori)
    assert type(stc) is expected
    assert stc.data.shape[0] == forward["nsource"]
    np.testing.assert_allclose(stc.times, sim.evoked.times)
    magnitude = np.linalg.norm(stc.data.reshape(len(stc.data), -1), axis=1)
    rr = forward["source_rr"]
    assert np.linalg.norm(rr[magnitude.argmax()] - rr[truth]) < 0.021
    stc.save(tmp_path / "kron-stc.h5", ftype="h5")
    again = mne.read_source_estimate(tmp_path / "kron-stc.h5")
    assert type(again) is expected
    np.testing.assert_allclose(again.data, stc.data)


def test_the_result_fits_together(fitted, simulation):
    """Residual, variances and explained variance, each computed anew in another way."""
    problem, learned = fitted.problem, fitted.learned
    assert fitted.converged
    assert np.all(np.diff(fitted.cost) <= 1e-9 * np.abs(fitted.cost).max())
    assert 2 <= len(fitted.active) < 100
    np.testing.assert_array_equal(fitted.active, np.flatnonzero(fitted.source_variance))
    rest = np.sum((problem.whitener @ fitted.residual.data) ** 2)
    explained = 100 * (1 - rest / np.sum(problem.data**2))
    assert fitted.explained_variance == pytest.approx(explained, rel=1e-9)
    std = problem.source_std.reshape(-1, 3)[fitted.active]
    prior = std[:, :, None] * learned.source_covariance * std[:, None]
    variance = fitted.source_variance[fitted.active]
    np.testing.assert_allclose(variance, np.trace(prior, axis1=1, axis2=2))


def test_prior_variances_are_the_posterior_power_of_their_time_courses(given):
    """The fixed point of expectation-maximization: mean power and posterior variance together."""
    fit = fit_kron_bayes(*given, tol=1e-8, max_iter=2000)
    learned, n_times = fit.learned, len(fit.stc.times)
    mean = fit.components(0)
    power = np.sum(mean * np.linalg.solve(fit.temporal_covariance, mean.T).T, axis=1) / n_times
    power += np.einsum("nii->ni", learned.posterior.covariance).ravel()
    prior = learned.source_variance[fit.active]
    np.testing.assert_allclose(power.reshape(-1, 3).mean(axis=1), prior, rtol=1e-5)


def test_all_arguments_are_in_the_settings(fitted):
    arguments = set(inspect.signature(fit_kron_bayes).parameters)
    assert arguments - set(fitted.settings) == {"evoked", "forward", "verbose"}
    assert fitted.settings["noise_cov"] == "given"
    assert fitted.settings["temporal"] == "toeplitz"
    assert fitted.settings["buffer_size"] == 1000
    assert fitted.code == f"mne_kronbayes {mne_kronbayes.__version__}"
    assert fitted.unit == "A m"
    assert isinstance(fitted, Result)


def test_a_result_owns_what_it_needs(simulation, forwards):
    """What happens to the objects later does not change it."""
    evoked, lags = simulation.evoked.copy(), 0.3 ** np.arange(30)
    fit = fit_kron_bayes(
        evoked, forwards["surface"], simulation.noise_cov, noise_temporal=lags, tol=1e-3
    )
    before = simulation.evoked.data.copy()
    evoked.crop(0, 0.1)
    evoked.data[:] = 0
    lags[:] = 0
    field = fit.problem.forward["sol"]["data"][:, fit.problem.columns(fit.active)]
    amplitude = fit.problem.std(fit.active)[:, None] * fit.components(0)
    rest = before - before.mean(axis=0) - fit.problem.projector @ field @ amplitude
    np.testing.assert_allclose(fit.residual.data, rest, atol=1e-9 * np.abs(rest).max())
    assert fit.settings["noise_temporal"][1] == 0.3


def test_dipoles_start_with_the_true_sources(fitted, simulation, forwards):
    rr = forwards["surface"]["source_rr"]
    dipoles = fitted.dipoles(2)
    for truth in simulation.sources:
        distance = min(np.linalg.norm(d.pos[0] - rr[truth]) for d in dipoles)
        assert distance < 0.021


def test_learned_noise_is_the_noise_of_a_single_trial(fitted, simulation, forwards):
    """It is white here, which the time courses of the sources are not."""
    args = simulation.evoked, forwards["surface"], simulation.noise_cov
    white = fit_kron_bayes(*args, temporal="identity")
    learned, true = (np.trace(c.data) for c in (white.noise_cov, simulation.noise_cov))
    assert learned == pytest.approx(true, rel=0.05)
    assert fitted.noise_cov.ch_names == simulation.evoked.ch_names


def test_sparse_is_dense_without_its_zeros(fitted, simulation, forwards):
    sparse = apply_kron_bayes(
        simulation.evoked, forwards["surface"], simulation.noise_cov, sparse=True
    )
    assert len(sparse.data) == len(fitted.active)
    np.testing.assert_allclose(sparse.data, fitted.stc.data[fitted.active])


# %% What goes in


def test_conditions_and_trials_are_solved_jointly(simulation, forwards):
    evoked, forward = simulation.evoked, forwards["surface"]
    flipped = evoked.copy()
    flipped.data = -flipped.data
    fit = fit_kron_bayes([evoked, flipped], forward, simulation.noise_cov, pick_ori="normal")
    assert len(fit.stc) == len(fit.residual) == 2
    np.testing.assert_allclose(fit.stc[1].data, -fit.stc[0].data, atol=1e-18)
    trials = fit_kron_bayes(simulation.epochs, forward, simulation.noise_cov, pick_ori="normal")
    assert len(trials.stc) == len(simulation.epochs)
    average = np.mean([stc.data for stc in trials.stc], axis=0)
    strongest = np.abs(average).max(axis=1).argsort()[-2:]
    assert set(strongest) == set(np.abs(fit.stc[0].data).max(axis=1).argsort()[-2:])


def test_averages_count(simulation, forwards):
    """An average of 8 trials has an eighth of the noise: MNE's sparse solvers forget that."""
    alone, eighth = simulation.evoked.copy(), simulation.noise_cov.copy()
    alone.nave, eighth["data"] = 1, eighth["data"] / simulation.evoked.nave
    options = dict(noise="fixed", verbose="error")
    one = fit_kron_bayes(simulation.evoked, forwards["surface"], simulation.noise_cov, **options)
    other = fit_kron_bayes(alone, forwards["surface"], eighth, **options)
    np.testing.assert_allclose(other.stc.data, one.stc.data, rtol=1e-6, atol=1e-15)
    forgotten = fit_kron_bayes(alone, forwards["surface"], simulation.noise_cov, **options)
    assert len(forgotten.active) != len(one.active)


def test_order_of_channels_does_not_matter(simulation, forwards):
    forward = forwards["surface"]
    one = apply_kron_bayes(simulation.evoked, forward, simulation.noise_cov)
    order = np.random.default_rng(0).permutation(simulation.evoked.ch_names)
    turned = simulation.evoked.copy().reorder_channels(list(order))
    other = apply_kron_bayes(turned, forward, simulation.noise_cov)
    np.testing.assert_allclose(other.data, one.data, atol=1e-4 * one.data.max())


def test_scaling_the_data_scales_the_estimate(simulation, forwards, fitted):
    evoked = simulation.evoked.copy()
    evoked.data = 7 * evoked.data
    stc = apply_kron_bayes(evoked, forwards["surface"], simulation.noise_cov)
    np.testing.assert_allclose(stc.data, 7 * fitted.stc.data, atol=1e-5 * stc.data.max())


# %% Where it points


def test_forward_columns_localize_to_themselves(eeg_info, forwards):
    """At least as many as with gamma_map, and nearly all."""
    forward = mne.convert_forward_solution(
        forwards["surface"], surf_ori=True, force_fixed=True, verbose="error"
    )
    cov = mne.make_ad_hoc_cov(eeg_info, verbose="error")
    rng = np.random.default_rng(0)
    columns = rng.choice(forward["nsource"], 12, replace=False)
    hits = dict(kronbayes=0, gamma_map=0)
    for column in columns:
        field = np.outer(forward["sol"]["data"][:, column], np.hanning(12)[1:-1])
        field *= 3e-6 / np.abs(field).max()
        noise = 1e-8 * rng.standard_normal(field.shape)
        evoked = mne.EvokedArray(field + noise, eeg_info, verbose="error")
        evoked.set_eeg_reference("average", projection=True, verbose="error")
        stcs = dict(
            kronbayes=apply_kron_bayes(evoked, forward, cov, loose=0.0, verbose="error"),
            gamma_map=mne.inverse_sparse.gamma_map(
                evoked, forward, cov, alpha=0.1, loose=0.0, tol=1e-4, verbose="error"
            ),
        )
        for name, stc in stcs.items():
            peak = np.abs(stc.data).max(axis=1).argmax()
            at = [(h, v) for h, vertices in enumerate(stc.vertices) for v in vertices][peak]
            truth = [(h, v) for h, s in enumerate(forward["src"]) for v in s["vertno"]][column]
            hits[name] += at == truth
    print(f"forward columns localized: {hits} of {len(columns)}")
    assert hits["kronbayes"] >= max(hits["gamma_map"], 0.9 * len(columns))


@pytest.mark.parametrize("temporal", sorted(set(TEMPORAL) - {"ar1"}))  # low-passed is not AR(1)
@pytest.mark.filterwarnings("ignore:A full temporal covariance")
def test_sep_arrives_at_the_hand_area(temporal, sep):
    """At the maximum of the field power the strongest source is within 20 mm, on the left."""
    evoked, forward = sep.evoked.copy().crop(0.02, 0.045), sep_forward("surface")
    time = evoked.times[evoked.data.std(axis=0).argmax()]
    assert 0.028 < time < 0.031
    stc = apply_kron_bayes(evoked, forward, sep.noise_cov, temporal=temporal)
    assert np.isfinite(stc.data).all()
    peak = take_snapshot(stc, forward["src"], time=time).peak()
    assert peak.hemi == "lh"
    assert np.linalg.norm(peak.position - HAND_AREA) < 20


def test_learned_orientations_bring_the_estimate_closer_to_the_truth(eeg_info, forwards):
    """Of cortical sources, whose orientation is the normal."""
    forward, distances = forwards["surface"], []
    for seed in range(3):
        sim = simulate_evoked(
            forward, eeg_info, sources=2, snr_db=10, tmax=0.19, rng=seed, verbose="error"
        )
        for learn in (False, True):
            fit = fit_kron_bayes(
                sim.evoked, forward, sim.noise_cov, pick_ori="vector", occam=2, noise="scalar",
                learn_orient=learn,
            )  # fmt: skip
            truth, found = np.abs(sim.stc.data).ravel(), fit.stc.magnitude().data.ravel()
            distances.append(1 - truth @ found / np.linalg.norm(truth) / np.linalg.norm(found))
            assert (fit.source_variance > 0).sum() == len(fit.active)
    alike, learned = np.reshape(distances, (-1, 2)).T
    assert (learned < alike).all()
    assert learned.mean() < 0.5 * alike.mean()


# %% Warnings and errors


def test_non_convergence_warns_and_returns_the_last_iterate(simulation, forwards, fitted):
    with pytest.warns(RuntimeWarning, match="did not reach tol"):
        result = fit_kron_bayes(
            simulation.evoked, forwards["surface"], simulation.noise_cov, max_iter=15
        )
    assert not result.converged
    assert np.corrcoef(result.stc.data.ravel(), fitted.stc.data.ravel())[0, 1] > 0.8


class Interrupted(TEMPORAL["toeplitz"]):
    """Ctrl-C in the twelfth sweep."""

    def update(self, rows, solved):
        Interrupted.left -= 1
        if not Interrupted.left:
            raise KeyboardInterrupt
        return super().update(rows, solved)


def test_an_interrupted_fit_is_usable_when_asked(simulation, forwards, fitted):
    args = simulation.evoked, forwards["surface"], simulation.noise_cov
    Interrupted.left = 12
    with pytest.raises(KeyboardInterrupt):
        fit_kron_bayes(*args, temporal=Interrupted)
    Interrupted.left = 12
    with pytest.warns(RuntimeWarning, match="did not reach tol=1e-05 in 11 sweeps"):
        result = fit_kron_bayes(*args, temporal=Interrupted, on_interrupt="keep")
    assert not result.converged
    assert len(result.cost) == 12
    assert np.all(np.diff(result.cost) < 0)
    assert np.corrcoef(result.stc.data.ravel(), fitted.stc.data.ravel())[0, 1] > 0.8
    assert result.explained_variance > 50


def test_an_estimate_that_explains_nothing_warns(simulation, forwards):
    with pytest.warns(RuntimeWarning, match="like noise alone.* lower occam"):
        fit_kron_bayes(
            simulation.evoked, forwards["surface"], simulation.noise_cov, occam=1000, tol=1e-3
        )


def test_an_occam_term_that_counts_twice_leaves_the_true_sources(simulation, forwards, fitted):
    twice = fit_kron_bayes(simulation.evoked, forwards["surface"], simulation.noise_cov, occam=2)
    assert len(twice.active) < len(fitted.active)
    assert {100, 900} <= set(twice.active)


def test_a_long_window_with_a_full_covariance_warns(simulation, forwards):
    with pytest.warns(RuntimeWarning, match="leading temporal components"):
        apply_kron_bayes(
            simulation.evoked, forwards["surface"], simulation.noise_cov, temporal="full"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda e: e.crop(0, 0), "one time sample"), (lambda e: e.data.__imul__(0), "are zero")],
)
def test_data_to_learn_nothing_from_are_refused(change, message, simulation, forwards):
    evoked = simulation.evoked.copy()
    change(evoked)
    with pytest.raises(ValueError, match=message):
        apply_kron_bayes(evoked, forwards["surface"], simulation.noise_cov)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal": "ar"}, "temporal must be one of"),
        ({"noise": "ar"}, "noise must be one of"),
        ({"noise_temporal": "pink"}, "noise_temporal must be"),
        ({"occam": 0.5}, "occam must be"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1, got 0"),
        ({"tol": -1.0}, "tol must be a positive finite number"),
        ({"select": "no"}, "select must be True or False, got 'no'"),
        ({"buffer_size": 1}, "buffer_size must be a whole number of at least 2"),
        ({"buffer_size": "10"}, "buffer_size must be a whole number of at least 2"),
        ({"buffer_size": 2.5}, "buffer_size must be a whole number of at least 2"),
        ({"on_interrupt": "stop"}, "on_interrupt must be"),
        ({"pick_ori": "max-power"}, "pick_ori must be"),
        ({"pick_ori": "vector", "loose": 0.0}, "cannot be had from fixed orientations"),
        ({"loose": -0.1}, "loose must lie between"),
    ],
)
def test_mistakes_are_named_before_any_work(options, message, given, monkeypatch):
    monkeypatch.setattr("mne_kronbayes.apply.prepare_problem", lambda *_, **__: pytest.fail("work"))
    with pytest.raises(ValueError, match=message):
        fit_kron_bayes(*given, **options)


def test_a_depth_without_meaning_is_refused(given):
    with pytest.raises(ValueError, match="depth must lie between"):
        apply_kron_bayes(*given, depth=-1)


# %% Threads


def blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


def test_it_learns_in_one_thread_and_restores_their_number(given):
    seen = set()

    class Watching(TEMPORAL["toeplitz"]):
        def update(self, rows, solved):
            seen.update(blas_threads())
            return super().update(rows, solved)

    with threadpool_limits(2, user_api="blas"):
        fit_kron_bayes(*given, temporal=Watching, tol=1e-2)
        assert blas_threads() == {2}
        Interrupted.left = 2
        with pytest.raises(KeyboardInterrupt):
            fit_kron_bayes(*given, temporal=Interrupted)
        assert blas_threads() == {2}
    assert seen == {1}
