"""Whatever does not fit together raises, and the message says what to call."""

from functools import partial

import mne
import numpy as np
import pytest
from mne.io.constants import FIFF

from mne_invkit.inverse.problem import prepare_problem

prepare = partial(prepare_problem, verbose=False)


@pytest.fixture
def given(eeg_evoked, forwards, eeg_cov):
    """Arguments that fit together, to spoil one at a time."""
    return dict(inst=eeg_evoked.copy(), forward=forwards["volume"].copy(), noise_cov=eeg_cov.copy())


def assert_raises(given, error, message):
    with pytest.raises(error, match=message):
        prepare(**given)


def test_what_fits_raises_nothing(given):
    prepare(**given)


# %% Data


def nan_in_one_channel(evoked):
    evoked.data[4, 2] = np.nan


def infinite_in_one_channel(evoked):
    evoked.data[4, 2] = np.inf


def flat(evoked):
    evoked.data[[4, 5]] = 1e-6


def without_reference(evoked):
    evoked.del_proj()


def single_ended(evoked):
    """Keep what `set_eeg_reference` leaves when the reference is one electrode."""
    evoked.del_proj()
    evoked.set_eeg_reference(["Cz"], verbose=False)


def named_otherwise(evoked):
    evoked.rename_channels({name: f"EEG {name}" for name in evoked.ch_names})


def all_bad(evoked):
    evoked.info["bads"] = evoked.ch_names


def moved(evoked, offset=0.0, scale=1.0):
    for ch in evoked.info["chs"]:
        ch["loc"][:3] = scale * ch["loc"][:3] + offset


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan_in_one_channel, r"data of \w+ are not finite .*inst.info\['bads'\]"),
        (infinite_in_one_channel, r"data of \w+ are not finite .*inst.info\['bads'\]"),
        (flat, r"flat \(\w+, \w+\).*\['bads'\] \+= \['\w+', '\w+'\]"),
        (without_reference, r'set_eeg_reference\("average", projection=True\)'),
        (single_ended, r'set_eeg_reference\("average", projection=True\)'),
        (named_otherwise, r"no channel in common.*rename_channels"),
        (all_bad, r"All 32 channels .* bad.*inst.info\['bads'\]"),
        (partial(moved, offset=[0.04, 0, 0]), r"electrodes lie 4\d mm.*set_montage"),
        (partial(moved, scale=1000), r"metres"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_unfit_data(given, spoil, message):
    spoil(given["inst"])
    assert_raises(given, ValueError, message)


def test_reference_electrode_is_flat_until_projected(given):
    evoked = given["inst"].del_proj()
    evoked.set_eeg_reference(["Cz"], verbose=False)
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    assert_raises(given, ValueError, r"flat \(Cz\).*reference electrode.*apply_proj\(\)")
    evoked.apply_proj()
    prepare(**given)


def test_electrodes_that_moved_a_little_are_fine(given):
    moved(given["inst"], offset=[0.01, 0, 0])
    prepare(**given)


@pytest.mark.parametrize(
    "inst", [None, np.zeros((32, 10)), [], ["evoked"], "data.fif"], ids=lambda v: type(v).__name__
)
def test_data_of_another_type(given, inst):
    assert_raises(given | dict(inst=inst), TypeError, "must be an Evoked.*epochs.average")


def test_evokeds_with_other_times(given):
    evoked = given["inst"]
    for other in (evoked.copy().crop(None, 0.05), evoked.copy().shift_time(0.01)):
        assert_raises(given | dict(inst=[evoked, other]), ValueError, r"different times.*crop")


def test_evokeds_with_other_channels(given):
    evoked = given["inst"]
    other = evoked.copy().drop_channels(["Cz"])
    assert_raises(given | dict(inst=[evoked, other]), ValueError, "equalize_channels")


def test_epochs_without_events(given):
    evoked = given["inst"]
    raw = mne.io.RawArray(evoked.data, evoked.info, verbose=False)
    raw.set_annotations(mne.Annotations([0.0], [0.1], ["bad"]))
    epochs = mne.Epochs(raw, [[2, 0, 1]], tmin=0, tmax=0.02, baseline=None, verbose=False)
    assert_raises(given | dict(inst=epochs), ValueError, "no event.*drop_log")


# %% Forward solution


def test_forward_of_another_type(given):
    assert_raises(given | dict(forward="sample-fwd.fif"), TypeError, "read_forward_solution")


def test_forward_in_another_frame(given):
    given["forward"]["coord_frame"] = 5  # MRI
    assert_raises(given, ValueError, "not in the head frame.*make_forward_solution")


def test_gain_that_is_not_finite(given):
    given["forward"]["sol"]["data"][7] = np.nan
    assert_raises(given, ValueError, r"gain of 1 channels is not finite.*place_electrodes")


def test_gain_that_is_zero(given):
    given["forward"]["sol"]["data"][:] = 0
    given["forward"]["_orig_sol"] = given["forward"]["sol"]["data"]
    assert_raises(given, ValueError, "is zero")


def test_head_that_moved_in_the_meg(meeg_info, meeg_forward, make_evoked):
    evoked = make_evoked(meeg_info).pick("mag")
    for offset, raises in [
        (0.04, pytest.raises(ValueError, match=r"moves MEG sensors by 40 mm.*recompute")),
        (0.01, pytest.warns(RuntimeWarning, match="moves MEG sensors by 10 mm")),
    ]:
        trans = np.eye(4)
        trans[2, 3] = offset
        evoked.info["dev_head_t"] = mne.transforms.Transform("meg", "head", trans)
        with raises:
            prepare(evoked, meeg_forward)


def test_other_compensation_grade(meeg_info, meeg_forward, make_evoked):
    evoked = make_evoked(meeg_info).pick("mag")
    for ch in evoked.info["chs"]:
        ch["coil_type"] += 3 << 16  # where CTF keeps the grade
    with pytest.raises(ValueError, match=r"grade 3.*apply_gradient_compensation\(0\)"):
        prepare(evoked, meeg_forward)


# %% What a name stands for


def test_average_reference_that_lacks_electrodes(given):
    evoked = given["inst"].del_proj()
    evoked.data += np.linspace(0, 5e-5, 12)
    four = ["Cz", "C3", "C4", "Pz"]
    evoked.set_channel_types(dict.fromkeys(four, "misc"), on_unit_change="ignore")
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    evoked.set_channel_types(dict.fromkeys(four, "eeg"), on_unit_change="ignore")
    message = r"covers 28 of the 32 EEG channels.*C3, C4, Cz, Pz"
    given["inst"] = evoked
    assert_raises(given, ValueError, message + r".*call inst.del_proj\(0\) and inst.set_eeg_ref")
    given["inst"] = evoked.copy().apply_proj()
    assert_raises(given, ValueError, message + ".*before it was applied")
    given["inst"] = evoked.del_proj(0)
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    prepare(**given)


def test_projector_is_judged_by_what_it_does(given):
    """Neither its description nor its kind make a projector an average reference."""
    evoked = given["inst"].del_proj()
    evoked.data += 1e-4
    blink = np.linspace(-1, 1, 32) / np.linalg.norm(np.linspace(-1, 1, 32))
    data = dict(col_names=evoked.ch_names, row_names=None, data=blink[None], nrow=1, ncol=32)
    evoked.add_proj(mne.Projection(data=data, desc="EEG average blink", active=False))
    assert_raises(given, ValueError, r"no average reference.*set_eeg_reference\(")


def test_channels_typed_otherwise_are_left_out(given):
    evoked = given["inst"].del_proj()
    evoked.set_channel_types(dict(Fp1="eog", Fp2="eog"), on_unit_change="ignore")
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    with pytest.warns(RuntimeWarning, match=r"2 channels \(Fp1, Fp2\) are eog .* left out"):
        problem = prepare(**given)
    assert len(problem.info["ch_names"]) == 30
    evoked.del_proj().set_channel_types(
        dict.fromkeys(evoked.ch_names, "misc"), on_unit_change="ignore"
    )
    assert_raises(given, ValueError, r"are misc in the data.*inst.set_channel_types")


def test_current_source_density_is_refused(given):
    csd = mne.preprocessing.compute_current_source_density(given["inst"])
    assert_raises(given | dict(inst=csd), ValueError, "csd in the data.*pass the potentials")


def test_bipolar_channels_are_refused(given):
    evoked = given["inst"].del_proj()
    raw = mne.io.RawArray(evoked.data, evoked.info, verbose=False)
    raw = mne.set_bipolar_reference(raw, "Fp1", "F7", copy=True, verbose=False)
    raw.rename_channels({"Fp1-F7": "Fp1"})
    raw.set_eeg_reference("average", projection=True, verbose=False)
    assert_raises(given | dict(inst=raw), ValueError, r"bipolar \(Fp1\).*set_bipolar_reference")


def test_names_in_another_case_warn(given):
    evoked = given["inst"]
    evoked.rename_channels(dict(Fz="FZ", Cz="CZ"))
    with pytest.warns(RuntimeWarning, match=r"2 of 32 eeg .*\(CZ, FZ\).*rename_channels"):
        prepare(**given)


def test_many_channels_left_out_warn(given):
    given["forward"] = mne.pick_channels_forward(
        given["forward"], given["inst"].ch_names[:24], verbose=False
    )
    with pytest.warns(RuntimeWarning, match=r"8 of 32 eeg channels .* inst\.info"):
        prepare(**given)


# %% Every member of a list, and all positions


def test_positions_of_every_evoked_are_compared(given):
    evoked = given["inst"]
    other = evoked.copy()
    moved(other, offset=[0.04, 0, 0])
    assert_raises(given | dict(inst=[evoked, other]), ValueError, r"electrodes lie 4\d mm")


def test_one_electrode_without_position_hides_nothing(given):
    evoked = given["inst"]
    evoked.info["chs"][3]["loc"][:3] = np.nan
    prepare(**given)
    moved(evoked, offset=[0, 0.06, 0])
    assert_raises(given, ValueError, r"electrodes lie [56]\d mm")


def test_head_that_turned_in_the_meg(meeg_info, meeg_forward, make_evoked):
    still = make_evoked(meeg_info).pick("mag")
    for degrees, raises in [
        (10, pytest.warns(RuntimeWarning, match=r"moves MEG sensors by 2\d mm")),
        (20, pytest.raises(ValueError, match=r"moves MEG sensors by 4\d mm")),
    ]:
        evoked = still.copy()
        turn = mne.transforms.rotation(0, 0, np.deg2rad(degrees))
        evoked.info["dev_head_t"] = mne.transforms.Transform("meg", "head", turn)
        for inst in (evoked, [still, evoked]):
            with raises:
                prepare(inst, meeg_forward)


def test_evokeds_with_other_projectors(given):
    evoked = given["inst"]
    vector = np.random.default_rng(0).standard_normal((1, 32))
    data = dict(col_names=evoked.ch_names, row_names=None, data=vector, nrow=1, ncol=32)
    other = evoked.copy().add_proj(mne.Projection(data=data, desc="blink", active=False))
    assert_raises(given | dict(inst=[evoked, other]), ValueError, "different projectors.*add_proj")


def test_evokeds_with_other_types(given):
    evoked = given["inst"].del_proj()
    other = evoked.copy().set_channel_types(dict(Fp1="eog"), on_unit_change="ignore")
    assert_raises(given | dict(inst=[evoked, other]), ValueError, "different types.*set_channel_ty")


def test_prepared_problem_looks_at_new_data_as_closely(given):
    problem = prepare(given["inst"].info, given["forward"], given["noise_cov"])
    evoked = given["inst"]
    far, typed, projected = evoked.copy(), evoked.copy(), evoked.copy()
    moved(far, offset=[0.04, 0, 0])
    typed.del_proj().set_channel_types(dict(Fp1="eog"), on_unit_change="ignore")
    vector = np.random.default_rng(0).standard_normal((1, 32))
    data = dict(col_names=evoked.ch_names, row_names=None, data=vector, nrow=1, ncol=32)
    projected.add_proj(mne.Projection(data=data, desc="blink", active=False))
    for inst, message in [
        (far, "electrodes lie"), (typed, "type of Fp1"), (projected, "projectors .* lacks"),
        (evoked.copy().del_proj(), "no average reference"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            problem.with_data(inst)
    problem.with_data(evoked.copy().apply_proj().crop(0, 0.05))


# %% Noise covariance


def test_covariance_of_another_type(given):
    assert_raises(given | dict(noise_cov=np.eye(32)), TypeError, "compute_covariance")


def test_covariance_of_other_channels(given):
    given["noise_cov"]["names"] = [f"MEG {k}" for k in range(32)]
    assert_raises(given, ValueError, "none of the data's channels.*compute_covariance")


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "zero.*compute_covariance"), (np.nan, "not finite"), (np.inf, "not finite")],
)
def test_covariance_without_meaning(given, value, message):
    given["noise_cov"]["data"] = np.full((32, 32), value)
    assert_raises(given, ValueError, message)


# %% Lists: what is wrong with one member is not hidden by the others


def test_each_evoked_of_a_list_is_looked_at(given):
    """A channel that is flat in one condition, silence, and other coils are found in any place."""
    good, spoiled = given["inst"], given["inst"].copy()
    spoiled.data = good.data.copy()
    spoiled.data[4] = 1e-6
    given["inst"] = [good, spoiled]
    assert_raises(given, ValueError, r"flat \(\w+\).*\['bads'\]")
    spoiled.data[:] = 0
    assert_raises(given, ValueError, "zero on all channels")
    problem = prepare(good, given["forward"], given["noise_cov"])
    pair = good.copy()
    pair.info["chs"][2]["coil_type"] = FIFF.FIFFV_COIL_EEG_BIPOLAR
    given["inst"] = [good, pair]
    assert_raises(given, ValueError, "bipolar.*drop_channels")
    with pytest.raises(ValueError, match=r"bipolar.*drop_channels"):
        problem.with_data(pair)


def test_one_electrode_elsewhere_warns(given):
    given["inst"].info["chs"][3]["loc"][:3] += [0, 0.08, 0]
    name = given["inst"].ch_names[3]
    with pytest.warns(RuntimeWarning, match=rf"1 electrodes \({name}\) lie up to 75 mm.*set_mont"):
        prepare(**given)


def test_one_electrode_has_no_average_reference(given):
    given["noise_cov"].pick_channels(["Cz"])
    with pytest.warns(RuntimeWarning, match="left out"):
        assert_raises(given, ValueError, "Cz is the only EEG channel.*inst.pick")


def test_covariance_that_lacks_a_type_of_sensors_warns(meeg_info, meeg_forward, make_evoked):
    noise_cov = mne.make_ad_hoc_cov(mne.pick_info(meeg_info, range(90)), verbose=False)
    with pytest.warns(RuntimeWarning, match="32 of 32 eeg channels .* noise covariance lacks them"):
        prepare(make_evoked(meeg_info), meeg_forward, noise_cov)
