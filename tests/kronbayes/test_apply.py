"""apply_kron_bayes on MNE objects: every class, real EEG, limits, bad input."""

import mne
import numpy as np
import pytest

from mne_invkit.cli.demo import HAND_AREA
from mne_invkit.heads.template import template_forward
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.viz.snapshot import take_snapshot
from mne_kronbayes import apply_kron_bayes, fit_kron_bayes
from mne_kronbayes.kernel.temporal import TEMPORAL


@pytest.fixture(scope="module")
def simulation(eeg_info, forwards):
    """Two sources in noise, 8 trials, surface."""
    return simulate_evoked(
        forwards["surface"], eeg_info, sources=[100, 900], snr_db=10, n_trials=8, tmax=0.29, rng=0,
        verbose="error",
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(simulation, forwards):
    return fit_kron_bayes(simulation.evoked, forwards["surface"], simulation.noise_cov)


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


def test_result_holds_what_was_learned(fitted, simulation, forwards):
    n_locations, n_times = forwards["surface"]["nsource"], len(simulation.evoked.times)
    assert fitted.converged
    assert fitted.source_variance.shape == (n_locations,)
    np.testing.assert_array_equal(fitted.active, np.flatnonzero(fitted.source_variance))
    assert 2 <= len(fitted.active) < n_locations
    assert fitted.temporal_covariance.shape == (n_times, n_times)
    assert np.linalg.eigvalsh(fitted.temporal_covariance).min() > 0
    assert fitted.settings["temporal"] == "toeplitz"
    assert fitted.settings["noise"] == "diagonal"
    assert np.all(np.diff(fitted.cost) <= 1e-9 * np.abs(fitted.cost).max())
    explained = 1 - np.sum(fitted.residual.data**2) / np.sum(simulation.evoked.data**2)
    assert explained == pytest.approx(fitted.explained_variance / 100, abs=0.02)
    assert np.sum(fitted.source_variance) == pytest.approx(
        np.mean(np.sum(fitted.stc.data**2, axis=0)), rel=0.5
    )


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
    assert learned == pytest.approx(true, rel=0.3)
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


@pytest.fixture(scope="module")
def sep_forward(sep):
    """The forward solution of the demo."""
    return template_forward(sep.evoked.info, verbose="error")


@pytest.mark.parametrize("temporal", sorted(set(TEMPORAL) - {"ar1"}))  # band-limited is not AR(1)
@pytest.mark.filterwarnings("ignore:A full temporal covariance")
def test_sep_arrives_at_the_hand_area(temporal, sep, sep_forward):
    """At the maximum of the field power the strongest source is within 20 mm, on the left."""
    time = sep.evoked.times[sep.evoked.data.std(axis=0).argmax()]
    assert 0.028 < time < 0.031
    stc = apply_kron_bayes(sep.evoked, sep_forward, sep.noise_cov, temporal=temporal)
    assert np.isfinite(stc.data).all()
    peak = take_snapshot(stc, sep_forward["src"], time=time).peak()
    assert peak.hemi == "lh"
    assert np.linalg.norm(peak.position - HAND_AREA) < 20


def test_auditory_cortex_of_real_meg_and_eeg(shared_data):
    """306 MEG channels and 60 electrodes together, in a volume, bads and SSP included."""
    folder = shared_data / "sample_subject"
    evoked = mne.read_evokeds(folder / "sample_auditory-ave.fif.gz", verbose="error")[1]
    evoked.info["bads"] = ["EEG 053", "MEG 2443"]
    evoked.apply_baseline((None, 0), verbose="error").crop(0.06, 0.13)
    bem = mne.read_bem_solution(folder / "sample-320-320-320-bem-sol.fif", verbose="error")
    src = mne.setup_volume_source_space(
        pos=10.0, surface=folder / "inner_skull.surf", mindist=5.0, add_interpolator=False,
        verbose="error",
    )  # fmt: skip
    forward = mne.make_forward_solution(
        evoked.info, folder / "sample-trans.fif", src, bem, verbose="error"
    )
    cov = mne.read_cov(folder / "sample-cov.fif", verbose="error")
    fit = fit_kron_bayes(evoked, forward, cov, verbose="error")
    places = np.array([dipole.pos[0] for dipole in fit.dipoles(3)])
    for cortex in ([-0.050, 0.012, 0.062], [0.052, 0.012, 0.062]):
        assert np.linalg.norm(places - cortex, axis=1).min() < 0.02


def test_learned_orientations_bring_the_estimate_closer_to_the_truth(eeg_info, forwards):
    """Of cortical sources, whose orientation is the normal."""
    forward, distances = forwards["surface"], []
    for seed in range(5):
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


def test_sources_that_pay_too_much_are_missed(simulation, forwards):
    with pytest.warns(RuntimeWarning, match="like noise alone.* lower occam"):
        fit_kron_bayes(
            simulation.evoked, forwards["surface"], simulation.noise_cov, occam=1000, tol=1e-3
        )


def test_paying_twice_leaves_the_true_sources(simulation, forwards, fitted):
    twice = fit_kron_bayes(simulation.evoked, forwards["surface"], simulation.noise_cov, occam=2)
    assert len(twice.active) < len(fitted.active)
    assert {100, 900} <= set(twice.active)


def test_a_long_window_with_a_full_covariance_warns(simulation, forwards):
    with pytest.warns(RuntimeWarning, match="leading temporal components"):
        apply_kron_bayes(
            simulation.evoked, forwards["surface"], simulation.noise_cov, temporal="full"
        )


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda e: e.crop(0, 0), {}, ValueError, "one time sample"),
        (lambda e: e.data.__imul__(0), {}, ValueError, "flat"),
        (lambda e: e, {"temporal": "ar"}, ValueError, "temporal must be one of"),
        (lambda e: e, {"noise": "ar"}, ValueError, "noise must be one of"),
        (lambda e: e, {"noise_temporal": "pink"}, ValueError, "noise_temporal must be"),
        (lambda e: e, {"max_iter": 0}, ValueError, "must be positive"),
        (lambda e: e, {"tol": -1.0}, ValueError, "must be positive"),
        (lambda e: e, {"pick_ori": "max-power"}, ValueError, "pick_ori must be"),
        (lambda e: e, {"loose": -0.1}, ValueError, "loose must lie between"),
        (lambda e: e, {"depth": -1}, ValueError, "depth must lie between"),
    ],
)
def test_mistakes_are_named(change, options, error, message, simulation, forwards):
    evoked = simulation.evoked.copy()
    change(evoked)
    with pytest.raises(error, match=message):
        apply_kron_bayes(evoked, forwards["surface"], simulation.noise_cov, **options)
