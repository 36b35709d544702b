"""Values that no sensor, no noise and no brain can have are refused, or told of."""

from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.inverse.result import make_result

prepare = partial(prepare_problem, verbose=False)


@pytest.fixture
def raw(make_evoked, eeg_info):
    """Three seconds, with a projector for the average reference."""
    evoked = make_evoked(eeg_info, n_times=300)
    return mne.io.RawArray(evoked.data, evoked.info, verbose=False)


# %% Kinds of values


def test_complex_data_are_refused(eeg_evoked, forwards):
    eeg_evoked.data = eeg_evoked.data * (1 + 1j)
    with pytest.raises(ValueError, match=r"complex.*Hilbert.*real and the imaginary part"):
        prepare(eeg_evoked, forwards["volume"])


def test_masked_data_are_refused(eeg_evoked, forwards):
    eeg_evoked.data = np.ma.masked_greater(eeg_evoked.data, 1e-6)
    with pytest.raises(ValueError, match=r"mask would be lost.*filled"):
        prepare(eeg_evoked, forwards["volume"])


def test_standard_errors_are_refused(eeg_evoked, forwards):
    eeg_evoked.kind = "standard_error"
    with pytest.raises(ValueError, match="is a standard error and not an average"):
        prepare([eeg_evoked], forwards["volume"])


def test_silence_is_refused(eeg_evoked, forwards):
    eeg_evoked.data[:] = 0
    with pytest.raises(ValueError, match="zero on all channels"):
        prepare(eeg_evoked, forwards["volume"])


# %% Number of averages


def test_weighted_average_has_less_than_one_trial(eeg_evoked, forwards, eeg_cov):
    """A difference of eight single trials has eight times their noise power."""
    difference = mne.combine_evoked([eeg_evoked] * 8, [1, -1] * 4)
    difference.data = np.sqrt(8) * eeg_evoked.data
    assert difference.nave == 0.125
    one, eight = (prepare(e, forwards["volume"], eeg_cov) for e in (eeg_evoked, difference))
    assert eight.nave == 0.125
    np.testing.assert_allclose(eight.data, one.data)


@pytest.mark.parametrize("nave", [0, -1, np.nan])
def test_impossible_number_of_averages(eeg_evoked, forwards, nave):
    eeg_evoked.nave = nave
    with pytest.raises(ValueError, match=r"nave=.*set evoked\.nave to the number"):
        prepare(eeg_evoked, forwards["volume"])


# %% Flat channels


def test_flat_is_told_from_all_epochs(make_evoked, eeg_info, forwards):
    evoked = make_evoked(eeg_info, n_times=40)
    data = np.stack([evoked.data, 1.1 * evoked.data])
    data[0, 3] = 0
    epochs = mne.EpochsArray(data, evoked.info, proj=False, verbose=False)
    assert prepare(epochs, forwards["volume"]).data.shape[0] == 2
    data[1, 3] = 0
    flat = mne.EpochsArray(data, evoked.info, proj=False, verbose=False)
    with pytest.raises(ValueError, match=rf"flat \({evoked.ch_names[3]}\)"):
        prepare(flat, forwards["volume"])


def test_one_topography_is_not_flat(eeg_evoked, forwards):
    eeg_evoked.data[:] = eeg_evoked.data[:, :1]
    assert prepare(eeg_evoked, forwards["volume"]).data.shape[2] == 12
    two = eeg_evoked.copy().crop(None, eeg_evoked.times[1])
    two.data[3:] *= [1, 1.1]  # three channels have the same value twice
    prepare(two, forwards["volume"])


# %% Bad segments


def test_bad_segments_do_not_count_as_flat_or_infinite(raw, forwards):
    raw[:, 100:200] = 0
    raw._data[3, 150] = np.nan
    raw._data[4, :100] = raw._data[4, 200:] = 0
    raw.set_annotations(mne.Annotations(1.0, 1.0, "BAD_ACQ_SKIP"))
    with pytest.raises(ValueError, match=rf"flat \({raw.ch_names[4]}\)"):
        prepare(raw, forwards["volume"])
    raw._data[4, :50] = 1e-6
    assert np.isfinite(prepare(raw, forwards["volume"]).data).all()
    raw.annotations.delete(0)
    with pytest.raises(ValueError, match=rf"{raw.ch_names[3]} are not finite"):
        prepare(raw, forwards["volume"])


def test_recording_that_is_bad_throughout(raw, forwards):
    raw.set_annotations(mne.Annotations(0.0, 2.999, "bad everything"))
    with pytest.raises(ValueError, match=r"all of the recording bad.*raw\.annotations"):
        prepare(raw, forwards["volume"])


# %% Units


@pytest.mark.parametrize("scale", [1e6, 1e-7])
def test_data_in_another_unit_warn(eeg_evoked, forwards, eeg_cov, scale):
    eeg_evoked.data *= scale
    eeg_cov = eeg_cov.copy()
    eeg_cov["data"] = scale**2 * eeg_cov["data"]
    with (
        pytest.warns(RuntimeWarning, match=r"EEG data vary by .* V .*MNE's unit is V"),
        pytest.warns(RuntimeWarning, match=r"EEG noise has a standard deviation .* in noise_cov"),
    ):
        prepare(eeg_evoked, forwards["volume"], eeg_cov)


def test_magnetometers_in_femtotesla_warn(make_evoked, meeg_info, meeg_forward):
    evoked = make_evoked(meeg_info).pick("mag")
    evoked.data *= 1e15
    with pytest.warns(RuntimeWarning, match="Magnetometers data vary by"):
        prepare(evoked, meeg_forward)


def test_a_channel_in_another_unit_is_named(eeg_evoked, forwards):
    eeg_evoked.data[5] *= 1e4
    with pytest.warns(RuntimeWarning, match=rf"{eeg_evoked.ch_names[5]} vary more than 100 times"):
        prepare(eeg_evoked, forwards["volume"])


def test_offsets_of_electrodes_are_no_unit(eeg_evoked, forwards):
    """DC-coupled amplifiers record tens of millivolts, which a reference leaves in."""
    eeg_evoked.data += np.linspace(-0.05, 0.05, 32)[:, np.newaxis]
    prepare(eeg_evoked, forwards["volume"])


def test_sources_that_no_brain_has_warn(eeg_evoked, forwards, eeg_cov):
    problem = prepare(eeg_evoked, forwards["volume"], eeg_cov)
    found = np.zeros((1, problem.gain.shape[1], 12))
    found[0, 5, 2] = 2e-6 / problem.source_std[5]
    with pytest.warns(RuntimeWarning, match=r"strongest source has 2.0e-06 A m.*baseline"):
        make_result(problem, found)


# %% Noise covariance and rank


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: np.triu(data), "not symmetric"),
        (lambda data: data - 2 * np.diag(np.diag(data)), "negative variances"),
    ],
)
def test_matrix_that_is_no_covariance(eeg_evoked, forwards, eeg_cov, change, message):
    eeg_cov = eeg_cov.copy()
    eeg_cov["data"] = change(eeg_cov["data"])
    with pytest.raises(ValueError, match=message):
        prepare(eeg_evoked, forwards["volume"], eeg_cov)


@pytest.mark.parametrize("rank", [2, "auto", dict(eeg=2.5), dict(eeg=-1), [3]])
def test_rank_of_another_kind(eeg_evoked, forwards, rank):
    with pytest.raises(ValueError, match=r'rank must be None, "info", "full", or a dict'):
        prepare(eeg_evoked, forwards["volume"], rank=rank)


def test_info_is_no_data(eeg_info, forwards):
    problem = prepare(eeg_info, forwards["volume"])
    with pytest.raises(TypeError, match=r"no data: pass an Evoked.*with_data\(inst\)"):
        make_result(problem, np.zeros((0, problem.gain.shape[1], 0)))


# %% Covariance and rank


def test_rank_may_hold_types_that_are_not_used(eeg_evoked, forwards, eeg_cov):
    """As ``mne.compute_rank`` of a whole recording returns it; the user's dict stays as it is."""
    rank = dict(meg=70)
    problem = prepare(eeg_evoked, forwards["volume"], eeg_cov, rank=rank)
    assert rank == dict(meg=70)
    assert problem.settings["rank"] == {}
    want = prepare(eeg_evoked, forwards["volume"], eeg_cov)
    np.testing.assert_array_equal(problem.data, want.data)


@pytest.mark.parametrize(
    ("rank", "message"),
    [(dict(EEG=31), "EEG.*no channel types: use eeg"), (dict(eeg=True), "whole numbers")],
)
def test_rank_of_no_type(rank, message, eeg_evoked, forwards, eeg_cov):
    with pytest.raises(ValueError, match=message):
        prepare(eeg_evoked, forwards["volume"], eeg_cov, rank=rank)


def test_numbers_beyond_measure_are_no_covariance(eeg_evoked, forwards, eeg_cov):
    eeg_cov = eeg_cov.copy()
    eeg_cov["data"][3, 4] = eeg_cov["data"][4, 3] = 1e300
    with pytest.raises(ValueError, match="not positive semidefinite"):
        prepare(eeg_evoked, forwards["volume"], eeg_cov)


def test_rank_of_magnetometers_and_gradiometers_is_one(meeg_info, meeg_forward, make_evoked):
    noise_cov = mne.make_ad_hoc_cov(meeg_info, verbose=False)
    evoked = make_evoked(meeg_info)
    apart, joint = (
        prepare(evoked, meeg_forward, noise_cov, rank=dict(eeg=31, **meg))
        for meg in (dict(mag=30, grad=60), dict(meg=90))
    )
    np.testing.assert_array_equal(apart.gain, joint.gain)
    with pytest.raises(ValueError, match=r"lacks one of magnetometers and gradiometers"):
        prepare(evoked, meeg_forward, noise_cov, rank=dict(mag=30))
    magnetometers = make_evoked(meeg_info).pick("mag")
    with pytest.warns(RuntimeWarning, match="spans only|beyond the rank"):
        problem = prepare(magnetometers, meeg_forward, noise_cov, rank=dict(meg=20))
    assert len(problem.gain) == 20


def indefinite(data):
    data[2, 3] = data[3, 2] = 3 * np.sqrt(data[2, 2] * data[3, 3])
    return data


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (indefinite, "not positive semidefinite.*method='shrunk'"),
        (lambda data: data * 1j, "masked or complex.*compute_covariance"),
        (lambda data: np.ma.masked_less(data, 0), "masked or complex.*compute_covariance"),
    ],
)
def test_covariance_that_is_none(spoil, message, eeg_evoked, forwards, eeg_cov):
    noise_cov = eeg_cov.copy()
    noise_cov["data"] = spoil(_full(noise_cov))
    noise_cov["diag"] = False
    with pytest.raises(ValueError, match=message):
        prepare(eeg_evoked, forwards["volume"], noise_cov)


def _full(noise_cov):
    return np.diag(noise_cov["data"]) if noise_cov["diag"] else noise_cov["data"].copy()


def test_nan_in_the_covariance_of_a_bad_channel_is_harmless(eeg_evoked, forwards, eeg_cov):
    noise_cov, name = eeg_cov.copy(), eeg_evoked.ch_names[2]
    data = _full(noise_cov)
    data[2] = data[:, 2] = np.nan
    noise_cov.update(data=data, diag=False)
    with pytest.raises(ValueError, match=rf"covariance of {name} is not finite.*\['bads'\]"):
        prepare(eeg_evoked, forwards["volume"], noise_cov)
    eeg_evoked.info["bads"] = [name]
    problem = prepare(eeg_evoked, forwards["volume"], noise_cov)
    np.testing.assert_allclose(
        problem.data, prepare(eeg_evoked, forwards["volume"], eeg_cov).data, rtol=1e-10
    )


def test_channel_without_noise_is_named(eeg_evoked, forwards, eeg_cov):
    noise_cov = eeg_cov.copy()
    data = _full(noise_cov)
    data[2] = data[:, 2] = 0
    noise_cov.update(data=data, diag=False)
    with pytest.warns(RuntimeWarning, match=rf"zero for {eeg_evoked.ch_names[2]}, .*\['bads'\]"):
        prepare(eeg_evoked, forwards["volume"], noise_cov)


@pytest.mark.parametrize("nave", ["20", None])
def test_nave_that_is_no_number(nave, eeg_evoked, forwards):
    eeg_evoked.nave = nave
    with pytest.raises(ValueError, match=r"nave=.*set evoked\.nave"):
        prepare(eeg_evoked, forwards["volume"])


def test_data_of_objects_are_refused(eeg_evoked, forwards):
    eeg_evoked.data = eeg_evoked.data.astype(object)
    with pytest.raises(ValueError, match=r"type object.*astype\(float\)"):
        prepare(eeg_evoked, forwards["volume"])
