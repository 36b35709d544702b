"""Evoked, lists of them, Epochs and Raw become one problem, and its geometry can be asked for."""

import pickle
from copy import deepcopy
from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.inverse.problem import prepare_problem

prepare = partial(prepare_problem, verbose=False)


@pytest.fixture(scope="module")
def raw(eeg_info, make_evoked):
    evoked = make_evoked(eeg_info, n_times=400)
    raw = mne.io.RawArray(evoked.data, evoked.info, first_samp=50, verbose=False)
    return raw.set_annotations(mne.Annotations([1.0], [0.1], ["blink"]))


@pytest.fixture(scope="module")
def epochs(raw):
    events = mne.make_fixed_length_events(raw, duration=1.0)
    return mne.Epochs(raw, events, tmin=0, tmax=0.2, baseline=None, verbose=False)


def test_nave_scales_the_noise(eeg_evoked, forwards, eeg_cov):
    average = eeg_evoked.copy()
    average.nave = 40
    one, many = (prepare(e, forwards["volume"], eeg_cov) for e in (eeg_evoked, average))
    assert (one.nave, many.nave) == (1, 40)
    np.testing.assert_allclose(many.data, np.sqrt(40) * one.data)
    np.testing.assert_allclose(many.gain, one.gain)
    np.testing.assert_allclose(many.source_std * np.sqrt(40), one.source_std)


def test_evokeds_share_one_problem(make_evoked, eeg_info, forwards, eeg_cov):
    evokeds = [make_evoked(eeg_info, nave=nave, rng=nave) for nave in (20, 60)]
    problem = prepare(evokeds, forwards["volume"], eeg_cov)
    assert problem.nave == pytest.approx(30)  # the harmonic mean
    assert problem.data.shape == (2, 31, 12)
    expected = problem.whitener @ [e.data for e in evokeds]
    np.testing.assert_allclose(problem.data, expected)


def test_bad_channel_of_one_evoked_is_bad_for_all(make_evoked, eeg_info, forwards, eeg_cov):
    evokeds = [make_evoked(eeg_info, rng=k) for k in range(2)]
    evokeds[1].info["bads"] = ["Cz"]
    assert "Cz" not in prepare(evokeds, forwards["volume"], eeg_cov).info["ch_names"]


def test_epochs_are_trials(epochs, forwards, eeg_cov):
    problem = prepare(epochs, forwards["volume"], eeg_cov)
    good = epochs.copy().drop_bad(verbose=False)
    assert problem.data.shape == (len(good), 31, 21)
    np.testing.assert_allclose(problem.data, problem.whitener @ good.get_data(), atol=1e-12)


def test_epochs_of_the_user_keep_their_bad_ones(epochs, forwards, eeg_cov):
    epochs.reject = None
    before = len(epochs.events)
    prepare(epochs, forwards["volume"], eeg_cov)
    assert len(epochs.events) == before
    with pytest.raises(RuntimeError, match="not been dropped"):
        len(epochs)


def test_geometry_of_active_locations(eeg_evoked, forwards, eeg_cov):
    """Axes, columns and standard deviations are those of the forward solution."""
    problem = prepare(eeg_evoked, forwards["surface"], eeg_cov)
    active = np.array([2, 7, 400])
    columns = problem.columns(active)
    np.testing.assert_array_equal(columns, [6, 7, 8, 21, 22, 23, 1200, 1201, 1202])
    np.testing.assert_array_equal(problem.std(active), problem.source_std[columns])
    np.testing.assert_array_equal(problem.std(), problem.source_std)
    assert problem.gain[:, problem.columns()].shape == problem.gain.shape
    axes = problem.axes[active]
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.tile(np.eye(3), (3, 1, 1)),
                               atol=1e-6)  # fmt: skip
    along = problem.forward["sol"]["data"][:, columns]
    free = mne.convert_forward_solution(forwards["surface"], surf_ori=False, verbose=False)
    names = problem.info["ch_names"]
    rows = [free["sol"]["row_names"].index(name) for name in names]
    xyz = free["sol"]["data"][rows].reshape(len(rows), -1, 3)[:, active]
    expected = np.einsum("mnx,nox->mno", xyz, axes).reshape(len(rows), -1)
    np.testing.assert_allclose(along, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())


def test_settings_hold_the_arguments(eeg_evoked, forwards, eeg_cov):
    problem = prepare(eeg_evoked, forwards["surface"], eeg_cov, loose=0.4, rank="info")
    settings = dict(problem.settings)
    assert f"mne {mne.__version__}" in settings.pop("versions")
    assert settings == dict(noise_cov="given", loose=0.4, depth=0.8, fixed="auto", rank="info")
    assert prepare(eeg_evoked, forwards["surface"]).settings["noise_cov"] == "ad hoc"


def test_raw_is_one_trial(raw, forwards, eeg_cov):
    problem = prepare(raw, forwards["volume"], eeg_cov)
    assert problem.data.shape == (1, 31, 400)
    np.testing.assert_allclose(problem.data[0], problem.whitener @ raw.get_data())


def test_repr_names_the_sizes(eeg_evoked, forwards, eeg_cov):
    problem = prepare(eeg_evoked, forwards["volume"], eeg_cov)
    assert "1 x 12 samples, 32 channels of rank 31, 255 locations x 3" in repr(problem)
    html = problem._repr_html_()
    assert html.startswith("<table")
    for cell in ("Data", "1 x 12 samples", "255 locations x 3", "depth"):
        assert f">{cell}<" in html


@pytest.mark.parametrize("form", ["evoked", "epochs", "raw"])
def test_problem_can_be_pickled(form, eeg_evoked, epochs, raw, forwards, eeg_cov):
    inst = dict(evoked=eeg_evoked, epochs=epochs, raw=raw)[form]
    problem = prepare(inst, forwards["volume"], eeg_cov)
    again = pickle.loads(pickle.dumps(problem))
    for name in ("data", "gain", "source_std", "whitener", "projector", "times"):
        np.testing.assert_array_equal(getattr(again, name), getattr(problem, name))
    assert (again.nave, again.settings) == (problem.nave, problem.settings)


def test_problem_without_data_takes_them_later(eeg_evoked, eeg_cov, forwards):
    empty = prepare_problem(eeg_evoked.info, forwards["surface"], eeg_cov)
    assert empty.data.shape == (0, len(empty.gain), 0)
    expected = prepare_problem(eeg_evoked, forwards["surface"], eeg_cov)  # nave is 1
    problem = empty.with_data(eeg_evoked)
    np.testing.assert_allclose(problem.data, expected.data)
    np.testing.assert_allclose(problem.gain, expected.gain)
    np.testing.assert_array_equal(problem.times, eeg_evoked.times)


def test_the_forward_solution_stays_as_it_was(eeg_evoked, eeg_cov, forwards):
    """Even if MNE turns the one of the problem, which shares memory with it."""
    forward, before = forwards["surface"], deepcopy(forwards["surface"])
    problem = prepare(eeg_evoked, forward, eeg_cov, loose=0.2)
    assert problem.forward["_orig_sol"] is forward["_orig_sol"]
    mne.convert_forward_solution(problem.forward, surf_ori=False, copy=False, verbose=False)
    for one in (forward, problem.forward):
        np.testing.assert_array_equal(one["sol"]["data"], before["sol"]["data"])
    np.testing.assert_array_equal(forward["_orig_sol"], before["_orig_sol"])
