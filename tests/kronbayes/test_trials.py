"""Trials and continuous data: solved jointly, returned one at a time."""

import tracemalloc
from collections.abc import Iterator

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.metrics.arrays import localization_error
from mne_invkit.simulation.evoked import simulate_evoked
from mne_kronbayes import (
    apply_kron_bayes,
    apply_kron_bayes_epochs,
    apply_kron_bayes_raw,
    compare,
)
from mne_kronbayes import fit_kron_bayes as fit


@pytest.fixture(scope="module")
def stcs(simulation, forwards):
    return apply_kron_bayes_epochs(
        simulation.epochs, forwards["surface"], simulation.noise_cov, pick_ori="vector"
    )


def close(one, other):
    np.testing.assert_allclose(one.data, other.data, atol=1e-4 * np.abs(other.data).max())


def test_generator_yields_what_the_list_holds(stcs, simulation, forwards):
    lazy = apply_kron_bayes_epochs(
        simulation.epochs, forwards["surface"], simulation.noise_cov, pick_ori="vector",
        return_generator=True,
    )  # fmt: skip
    assert isinstance(stcs, list)
    assert isinstance(lazy, Iterator)
    lazy = list(lazy)
    assert len(lazy) == len(stcs) == len(simulation.epochs)
    for one, other in zip(lazy, stcs, strict=True):
        assert isinstance(one, mne.VectorSourceEstimate)
        close(one, other)


def test_the_average_is_the_mean_of_the_trials(stcs, simulation, forwards):
    options = dict(pick_ori="vector", average=True)
    (mean,) = apply_kron_bayes_epochs(
        simulation.epochs, forwards["surface"], simulation.noise_cov, **options
    )
    np.testing.assert_allclose(
        mean.data, np.mean([stc.data for stc in stcs], axis=0), atol=1e-6 * mean.data.max()
    )


def test_trials_share_active_sources_and_find_the_true_ones(simulation, forwards):
    forward = forwards["surface"]
    result = fit(simulation.epochs, forward, simulation.noise_cov, sparse=True)
    vertices = [np.concatenate(stc.vertices) for stc in result.estimates()]
    assert len(vertices) == len(simulation.epochs)
    for other in vertices[1:]:
        np.testing.assert_array_equal(other, vertices[0])
    strength = np.zeros(forward["nsource"])
    strength[result.active] = np.linalg.norm(result.average().data, axis=1)
    rr = forward["source_rr"]
    for truth, found in zip(
        sorted(simulation.sources), sorted(np.argsort(strength)[-2:]), strict=True
    ):
        assert np.linalg.norm(rr[truth] - rr[found]) < 0.021


def test_order_of_trials_does_not_matter(stcs, simulation, forwards):
    order = np.random.default_rng(0).permutation(len(stcs))
    turned = apply_kron_bayes_epochs(
        simulation.epochs[order], forwards["surface"], simulation.noise_cov, pick_ori="vector"
    )
    for one, k in zip(turned, order, strict=True):
        close(one, stcs[k])


def test_one_trial_is_an_evoked_of_one(simulation, forwards):
    (stc,) = apply_kron_bayes_epochs(
        simulation.epochs[:1], forwards["surface"], simulation.noise_cov
    )
    evoked = simulation.epochs[0].average()
    close(stc, apply_kron_bayes(evoked, forwards["surface"], simulation.noise_cov))


def test_memory_does_not_hold_all_sources_of_all_trials(eeg_info, forwards):
    forward = forwards["surface"]
    sim = simulate_evoked(
        forward, eeg_info, sources=[100, 900], n_trials=60, tmax=0.29, rng=0, verbose="error"
    )
    everything = 8 * 3 * forward["nsource"] * len(sim.evoked.times) * len(sim.epochs)
    tracemalloc.start()
    for _ in apply_kron_bayes_epochs(
        sim.epochs, forward, sim.noise_cov, return_generator=True, max_iter=30, tol=1e-3
    ):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < everything / 3


# %% Continuous data


@pytest.fixture(scope="module")
def raw(simulation):
    """The trials, one after the other."""
    data = np.concatenate(list(simulation.epochs.get_data()), axis=1)
    return mne.io.RawArray(data, simulation.epochs.info, verbose="error")


def test_windows_of_a_recording_are_trials(stcs, raw, simulation, forwards):
    size = len(simulation.evoked.times)
    stc = apply_kron_bayes_raw(
        raw, forwards["surface"], simulation.noise_cov, buffer_size=size, pick_ori="vector"
    )
    np.testing.assert_allclose(stc.times, raw.times)
    for k, one in enumerate(stcs):
        part = stc.data[..., k * size : (k + 1) * size]
        np.testing.assert_allclose(part, one.data, atol=1e-4 * np.abs(stc.data).max())


def test_a_fit_of_raw_is_that_of_its_windows(raw, simulation, forwards):
    """In time without end, too: estimate, uncertainty, residual, evidence."""
    args = forwards["surface"], simulation.noise_cov
    options = dict(noise_temporal="white", buffer_size=30, pick_ori="normal", tol=1e-3)
    whole = fit(raw, *args, **options)
    trials = fit(simulation.epochs, *args, **options)
    np.testing.assert_allclose(whole.cost, trials.cost, rtol=1e-9)
    assert whole.evidence == pytest.approx(trials.evidence)
    assert whole.explained_variance == pytest.approx(trials.explained_variance)
    for one, other in [
        (whole.stc.data, [stc.data for stc in trials.stc]),
        (whole.std().data, [trials.std().data] * len(simulation.epochs)),
        (whole.residual.get_data(), list(trials.residual.get_data())),
    ]:
        other = np.concatenate(other, axis=1)
        np.testing.assert_allclose(one, other, atol=1e-6 * np.abs(other).max())
    assert whole.temporal_covariance.shape == (30, 30)
    assert len(whole.plot_temporal_covariance().axes[1].lines[1].get_xdata()) == 30
    plt.close("all")


def test_raw_is_one_model_wherever_it_is_given(raw, simulation, forwards):
    """Also where samples are left after the last window of 1000."""
    long = mne.concatenate_raws([raw.copy() for _ in range(5)], verbose="error")
    assert 1000 < len(long.times) < 2000
    args = long, forwards["surface"], simulation.noise_cov
    options = dict(max_iter=3, sparse=True, verbose="error")
    one, other = apply_kron_bayes(*args, **options), apply_kron_bayes_raw(*args, **options)
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.times, other.times)
    assert fit(*args, **options).learned.n_times == 1000


def test_fits_of_other_windows_are_not_compared(raw, simulation, forwards):
    args = raw, forwards["surface"], simulation.noise_cov
    fits = {size: fit(*args, buffer_size=size, max_iter=2, verbose="error") for size in (30, 40)}
    with pytest.raises(ValueError, match="buffer_size"):
        compare(fits)


def test_start_and_stop_are_samples(raw, simulation, forwards):
    args = forwards["surface"], simulation.noise_cov
    stc = apply_kron_bayes_raw(raw, *args, start=30, stop=107, buffer_size=35)
    np.testing.assert_allclose(stc.times, raw.times[30:107])
    part = raw.copy().crop(raw.times[30], raw.times[106])
    np.testing.assert_array_equal(stc.data, fit(part, *args, buffer_size=35).stc.data)
    with pytest.raises(ValueError, match=r"start must be a whole number.*time_as_index"):
        apply_kron_bayes_raw(raw, *args, start=1.5)


@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
def test_what_is_left_after_the_last_window(noise_temporal, raw, simulation, forwards):
    """Belongs to a window that ends with the data, and is not learned from."""
    args = forwards["surface"], simulation.noise_cov
    part = raw.copy().crop(0, raw.times[76])
    options = dict(noise_temporal=noise_temporal, buffer_size=35, tol=1e-3)
    result = fit(part, *args, **options)
    data, mean = result.problem.data[0], result.learned.posterior.mean
    windows = mean(data[:, :35]), mean(data[:, 35:70]), mean(data[:, 42:])[:, -7:]
    found = result.components(0)
    np.testing.assert_allclose(found, np.hstack(windows), atol=1e-12 * np.abs(found).max())
    shorter = fit(part.copy().crop(0, raw.times[69]), *args, **options)
    np.testing.assert_allclose(shorter.cost, result.cost, rtol=1e-9)


def test_bad_segments_are_not_learned_from(raw, simulation, forwards):
    """Nor does what happens in them change the estimate elsewhere."""
    args = forwards["surface"], simulation.noise_cov
    loud = raw.copy()
    loud[:, 60:90] = 1e-3 * np.random.default_rng(0).standard_normal((32, 30))
    loud[:, 90:120] = 0
    marks = mne.Annotations([0.6, 0.9], [0.3, 0.3], ["Bad jump", "BAD_ACQ_SKIP"])
    result = fit(loud.set_annotations(marks), *args, buffer_size=30)
    kept = [0, 1, 4, 5, 6, 7]
    expected = fit(simulation.epochs[kept], *args)
    np.testing.assert_allclose(result.cost, expected.cost, rtol=1e-9)
    for k, stc in zip(kept, expected.stc, strict=True):
        close(stc.copy(), mne.SourceEstimate(result.stc.data[:, 30 * k : 30 * k + 30],
                                             stc.vertices, 0, 0.01))  # fmt: skip


def test_windows_fit_between_bad_segments(raw, simulation, forwards):
    args = forwards["surface"], simulation.noise_cov
    marks = mne.Annotations([0.5, 1.5], [0.3, 0.3], ["bad", "bad"])
    short = raw.copy().set_annotations(marks)
    result = fit(short, *args, max_iter=2, verbose="error")
    assert result.learned.n_times == 70
    with pytest.warns(RuntimeWarning, match=r"windows of 45 samples for 27% .*buffer_size"):
        fit(raw.copy().crop(0, 1.69).set_annotations(
            mne.Annotations([0.45, 0.9, 1.34], [0.01, 0.01, 0.01], ["bad"] * 3)
        ), *args, tol=1, buffer_size=45)  # fmt: skip


def test_bootstrapped_epochs(simulation, forwards):
    """An epoch that is drawn twice is solved twice, residual included."""
    epochs = simulation.epochs[[0, 0, 1]]
    result = fit(epochs, forwards["surface"], simulation.noise_cov, tol=1e-3)
    np.testing.assert_array_equal(result.stc[0].data, result.stc[1].data)
    np.testing.assert_array_equal(result.residual.events, epochs.events)
    data = result.residual.get_data()
    np.testing.assert_array_equal(data[0], data[1])
    assert np.sum(data[2] ** 2) < np.sum(epochs.get_data()[2] ** 2)


def test_a_recording_on_disk(raw, simulation, forwards, tmp_path):
    raw.save(tmp_path / "part_raw.fif", verbose="error")
    on_disk = mne.io.read_raw_fif(tmp_path / "part_raw.fif", verbose="error")
    options = dict(buffer_size=30, stop=120)
    stc = apply_kron_bayes_raw(on_disk, forwards["surface"], simulation.noise_cov, **options)
    expected = apply_kron_bayes_raw(raw, forwards["surface"], simulation.noise_cov, **options)
    np.testing.assert_allclose(stc.data, expected.data, atol=1e-3 * expected.data.max())


@pytest.mark.parametrize(
    ("function", "kind", "options", "error", "message"),
    [
        (apply_kron_bayes_epochs, "evoked", {}, TypeError, "use apply_kron_bayes"),
        (apply_kron_bayes_raw, "epochs", {}, TypeError, "use apply_kron_bayes"),
        (apply_kron_bayes_raw, "raw", {"start": 9, "stop": 9}, ValueError, "no sample"),
        (apply_kron_bayes_raw, "raw", {"stop": -1000}, ValueError, "no sample"),
    ],
)
def test_mistakes_are_named(function, kind, options, error, message, raw, simulation, forwards):
    inst = dict(evoked=simulation.evoked, epochs=simulation.epochs, raw=raw)[kind]
    with pytest.raises(error, match=message):
        function(inst, forwards["surface"], simulation.noise_cov, **options)


def test_five_trials_localize_nearly_as_well_as_fifty(eeg_info, forwards):
    """In noise as correlated in time as ongoing activity, at 0 dB a trial."""
    forward = forwards["surface"]
    rr = forward["source_rr"]
    errors = []
    for seed in range(8):
        sim = simulate_evoked(
            forward, eeg_info, sources=2, snr_db=0, n_trials=50, noise_ar=0.9, tmax=0.49,
            rng=seed, verbose="error",
        )  # fmt: skip
        for evoked in (sim.epochs[:5].average(), sim.evoked):
            found = apply_kron_bayes(evoked, forward, sim.noise_cov)
            errors.append(localization_error(sim.stc.data, found.data, rr))
    few, fifty = np.reshape(errors, (8, 2)).mean(axis=0)
    print(f"5 trials: {1e3 * few:.1f} mm, 50 trials: {1e3 * fifty:.1f} mm")
    assert few < fifty + 0.005
    assert fifty < 0.005
