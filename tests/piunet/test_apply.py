"""apply_piunet on MNE objects, with a small network of random weights: all but its accuracy."""

import re
import warnings
from functools import partial
from importlib.metadata import version
from io import StringIO

import mne
import numpy as np
import pytest
from tqdm import tqdm

torch = pytest.importorskip("torch")

import mne_piunet
from mne_piunet import (
    apply_piunet,
    apply_piunet_epochs,
    apply_piunet_raw,
    fit_piunet,
    make_piunet,
)


@pytest.mark.parametrize("pick_ori", [None, "normal", "vector"])
@pytest.mark.parametrize("kind", ["surface", "volume", "discrete", "mixed"])
def test_class_and_save(kind, pick_ori, eeg_evoked, eeg_cov, forwards, model, tmp_path):
    if pick_ori == "normal" and kind in ("volume", "mixed"):
        with pytest.raises(ValueError, match="needs sources with a normal"):
            apply_piunet(eeg_evoked, forwards[kind], eeg_cov, pick_ori=pick_ori, model=model)
        return
    stc = apply_piunet(eeg_evoked, forwards[kind], eeg_cov, pick_ori=pick_ori, model=model)
    forward, name = forwards[kind], {"surface": "", "mixed": "Mixed"}.get(kind, "Vol")
    vector = "Vector" if pick_ori == "vector" else ""
    assert type(stc).__name__ == f"{name}{vector}SourceEstimate"
    assert stc.data.shape[0] == forward["nsource"]
    assert np.isfinite(stc.data).all()
    assert np.abs(stc.data).max() > 0
    np.testing.assert_allclose(stc.times, eeg_evoked.times)
    stc.save(tmp_path / "stc.h5", ftype="h5")
    np.testing.assert_array_equal(mne.read_source_estimate(tmp_path / "stc.h5").data, stc.data)


def test_orientations_are_views_of_one_estimate(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["surface"], eeg_cov, model=model)
    strength, normal, vector = (
        apply_piunet(eeg_evoked, operator, pick_ori=pick_ori).data
        for pick_ori in (None, "normal", "vector")
    )
    assert strength.dtype == np.float32  # double takes twice the memory
    tolerance = dict(rtol=1e-4, atol=1e-5 * strength.max())
    np.testing.assert_allclose(np.linalg.norm(vector, axis=1), strength, **tolerance)
    normals = np.concatenate([s["nn"][s["vertno"]] for s in forwards["surface"]["src"]])
    np.testing.assert_allclose(np.einsum("nit,ni->nt", vector, normals), normal, **tolerance)


def test_the_result_tells_all(eeg_evoked, eeg_cov, forwards, model):
    """Its estimate is that of apply_piunet, and its settings are all arguments."""
    given = eeg_evoked, forwards["discrete"], eeg_cov
    options = dict(model=model, pick_ori="vector", batch_size=5, n_jobs=1, rank="info")
    result = fit_piunet(*given, **options)
    np.testing.assert_array_equal(result.stc.data, apply_piunet(*given, **options).data)
    assert (result.unit, result.code) == ("A m", f"mne_piunet {mne_piunet.__version__}")
    wanted = options | dict(model="random", backend="torch", noise_cov="given")
    assert wanted.items() <= result.settings.items()
    assert f"torch {version('torch')}" in result.settings["versions"]
    assert 0 < result.explained_variance <= 100


def test_what_the_operator_was_prepared_with_is_not_passed_again(
    eeg_evoked, eeg_cov, forwards, model
):
    operator = make_piunet(eeg_evoked.info, forwards["discrete"], eeg_cov, model=model)
    expected = apply_piunet(eeg_evoked, operator).data
    with pytest.warns(RuntimeWarning, match="its own noise_cov, model, so what you pass is ignor"):
        stc = apply_piunet(eeg_evoked, operator, eeg_cov, model="other")
    np.testing.assert_array_equal(stc.data, expected)
    with pytest.warns(RuntimeWarning, match="its own backend, rank, so"):
        apply_piunet(eeg_evoked, operator, backend="onnxruntime", rank="info")


def test_fixed_orientations(eeg_evoked, eeg_cov, forwards, model):
    forward = mne.convert_forward_solution(
        forwards["surface"], surf_ori=True, force_fixed=True, verbose=False
    )
    result = fit_piunet(eeg_evoked, forward, eeg_cov, model=model)
    assert result.stc.data.shape[0] == forward["nsource"]
    assert result.stc.data.min() < 0 < result.stc.data.max()
    fields = forward["sol"]["data"] @ result.stc.data
    fields -= fields.mean(axis=0)
    data = eeg_evoked.data - eeg_evoked.data.mean(axis=0)
    np.testing.assert_allclose(result.residual.data, data - fields, atol=1e-6 * data.max())


def test_order_of_channels(eeg_evoked, eeg_cov, forwards, model):
    forward = forwards["surface"]
    operator = make_piunet(eeg_evoked.info, forward, eeg_cov, model=model)
    expected = apply_piunet(eeg_evoked, operator)
    turned = eeg_evoked.copy().reorder_channels(eeg_evoked.ch_names[::-1])
    stc = apply_piunet(turned, operator)
    np.testing.assert_allclose(stc.data, expected.data, atol=1e-6 * expected.data.max())


def test_silence_stays_silent(eeg_evoked, eeg_cov, forwards, model):
    evoked = eeg_evoked.copy()
    evoked.data[:, 3] = 0
    stc = apply_piunet(evoked, forwards["surface"], eeg_cov, model=model)
    assert not stc.data[:, 3].any()
    loud = int(stc.data.max(axis=0).argmax())
    assert stc.data[:, loud].any()
    evoked.crop(evoked.times[loud], evoked.times[loud])
    one = apply_piunet(evoked, forwards["surface"], eeg_cov, model=model)
    np.testing.assert_allclose(one.data[:, 0], stc.data[:, loud], rtol=1e-3, atol=1e-15)


def test_trials(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["discrete"], eeg_cov, model=model)
    other = eeg_evoked.copy()
    other.data = -other.data
    stcs = apply_piunet([eeg_evoked, other], operator, pick_ori="vector")
    assert len(stcs) == 2
    for evoked, stc in zip((eeg_evoked, other), stcs, strict=True):
        alone = apply_piunet(evoked, operator, pick_ori="vector")
        np.testing.assert_array_equal(stc.data, alone.data)
    assert np.abs(stcs[0].data - stcs[1].data).max() > 0


def test_bad_channel_of_one_evoked_is_bad_for_all(eeg_evoked, eeg_cov, forwards, model):
    both = [eeg_evoked.copy() for _ in range(2)]
    both[1].info["bads"] = ["Cz"]
    result = fit_piunet(both, forwards["discrete"], eeg_cov, model=model)
    assert "Cz" not in result.problem.info["ch_names"]
    assert len(result.stc) == 2


def test_other_channels_are_named(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["discrete"], eeg_cov, model=model)
    with pytest.raises(ValueError, match=r"lack .* prepare it again"):
        apply_piunet(eeg_evoked.copy().drop_channels(["Cz"]), operator)
    bad = eeg_evoked.copy()
    bad.info["bads"] = ["Fp1"]
    with pytest.raises(ValueError, match=r"bad channels Fp1.*interpolate_bads"):
        apply_piunet(bad, operator)
    with pytest.raises(ValueError, match="backend must be"):
        make_piunet(eeg_evoked.info, forwards["discrete"], eeg_cov, model=model, backend="tpu")


@pytest.fixture
def lone_source(eeg_info, sphere):
    """Forward solution of one source that points upward."""
    src = mne.setup_volume_source_space(
        pos=dict(rr=[[0.03, 0.01, 0.07]], nn=[[0.0, 0.0, 1.0]]), verbose=False
    )
    forward = mne.make_forward_solution(eeg_info, None, src, sphere, verbose=False)
    return mne.convert_forward_solution(forward, surf_ori=True, force_fixed=True, verbose=False)


@pytest.mark.filterwarnings("ignore:The source space spans")
def test_the_only_source_gets_the_whole_amplitude_at_every_sample(
    lone_source, eeg_info, eeg_cov, model
):
    moment = 1e-7 * np.sin(np.arange(30_000) / 50)
    gain = lone_source["sol"]["data"][:, 0]
    raw = mne.io.RawArray(np.outer(gain - gain.mean(), moment), eeg_info, verbose=False)
    raw.set_eeg_reference("average", projection=True, verbose=False)
    stc = apply_piunet_raw(
        raw, lone_source, eeg_cov, model=model, buffer_size=10_000, batch_size=1000
    )
    np.testing.assert_allclose(stc.data, moment[np.newaxis], atol=1e-5 * moment.max())


def test_data_of_another_sampling_rate(eeg_evoked, eeg_cov, forwards, model):
    """An operator knows sensors and sources; times are those of the data."""
    operator = make_piunet(eeg_evoked.info, forwards["discrete"], eeg_cov, model=model)
    faster = mne.EvokedArray(
        eeg_evoked.data, mne.create_info(eeg_evoked.ch_names, 250.0, "eeg"), verbose=False
    )
    faster.set_montage(eeg_evoked.get_montage(), verbose=False)
    faster.set_eeg_reference("average", projection=True, verbose=False)
    np.testing.assert_allclose(apply_piunet(faster, operator).times, faster.times)
    raw = mne.io.RawArray(faster.data, faster.info, verbose=False)
    np.testing.assert_allclose(apply_piunet_raw(raw, operator).times, raw.times)


# %% Epochs and Raw


@pytest.fixture
def epochs(eeg_evoked):
    """Three epochs, the first of them the Evoked."""
    data = eeg_evoked.data * np.array([1, -2, 3])[:, None, None]
    return mne.EpochsArray(data, eeg_evoked.info, tmin=eeg_evoked.tmin, verbose=False)


def test_quiet_epochs_warn_once(epochs, eeg_cov, forwards, model):
    operator = make_piunet(epochs.info, forwards["discrete"], eeg_cov, model=model)
    quiet = mne.EpochsArray(0.01 * epochs.get_data(), epochs.info, verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        apply_piunet_epochs(quiet, operator)
    assert ["too blurred" in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize("pick_ori", [None, "vector"])
def test_epochs_one_after_the_other(epochs, eeg_evoked, eeg_cov, forwards, model, pick_ori):
    operator = make_piunet(epochs.info, forwards["surface"], eeg_cov, model=model)
    options = dict(pick_ori=pick_ori)
    stcs = apply_piunet_epochs(epochs, operator, **options)
    lazy = apply_piunet_epochs(epochs, operator, return_generator=True, **options)
    assert not isinstance(lazy, list)
    whole = apply_piunet(epochs, forwards["surface"], eeg_cov, model=model, **options)
    assert len(stcs) == 3
    for one, other, third in zip(stcs, lazy, whole, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_allclose(one.data, third.data, rtol=1e-4, atol=1e-5 * third.data.max())
        np.testing.assert_allclose(one.times, epochs.times)
    expected = apply_piunet(eeg_evoked, operator, **options).data
    np.testing.assert_allclose(stcs[0].data, expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.mark.parametrize("pick_ori", [None, "vector"])
@pytest.mark.parametrize("buffer_size", [5, 1000])
def test_raw_in_buffers(eeg_evoked, eeg_cov, forwards, model, buffer_size, pick_ori):
    raw = mne.io.RawArray(eeg_evoked.data, eeg_evoked.info, verbose=False)
    stc = apply_piunet_raw(
        raw, forwards["surface"], eeg_cov, start=1, stop=11, buffer_size=buffer_size, model=model,
        pick_ori=pick_ori,
    )  # fmt: skip
    whole = apply_piunet(eeg_evoked, forwards["surface"], eeg_cov, model=model, pick_ori=pick_ori)
    expected = whole.data[..., 1:11]
    np.testing.assert_allclose(stc.data, expected, rtol=1e-4, atol=1e-5 * expected.max())
    np.testing.assert_allclose(stc.times, raw.times[1:11])


def test_buffers_do_not_decide_what_is_flat(eeg_evoked, eeg_cov, forwards, model):
    """Neither does a flat epoch, an interruption of the recording, or a coarse resolution."""
    data = np.round(np.tile(eeg_evoked.data, 3), 7)
    raw = mne.io.RawArray(data, eeg_evoked.info, verbose=False)
    raw[:, 10:14] = data[:, 10:11]
    raw[:, 20:26] = 0
    operator = make_piunet(raw.info, forwards["discrete"], eeg_cov, model=model)
    one, other = (apply_piunet_raw(raw, operator, buffer_size=size) for size in (2, 1000))
    np.testing.assert_allclose(one.data, other.data, atol=1e-5 * other.data.max())
    assert not one.data[:, 20:26].any()
    epochs = np.stack([eeg_evoked.data, eeg_evoked.data])
    epochs[0, 3] = 0
    epochs = mne.EpochsArray(epochs, raw.info, proj=False, verbose=False)
    assert len(apply_piunet_epochs(epochs, operator)) == 2
    raw[3] = 0
    with pytest.raises(ValueError, match=r"flat \(\w+\)"):
        apply_piunet_raw(raw, operator)


def test_locations_without_a_field_have_no_amplitude(eeg_evoked, eeg_cov, forwards, model):
    """Such as the centre of a sphere for MEG; here one without, and one with nearly none."""
    forward = forwards["surface"].copy()
    gain = forward["sol"]["data"].copy()
    gain[:, :3], gain[:, 9:12] = 0, 1e-9 * gain[:, 9:12]
    forward["sol"]["data"], forward["_orig_sol"] = gain, gain.copy()
    stc = apply_piunet(eeg_evoked, forward, eeg_cov, model=model)
    assert not stc.data[[0, 3]].any()
    assert np.isfinite(stc.data).all()
    expected = apply_piunet(eeg_evoked, forwards["surface"], eeg_cov, model=model).data
    assert np.corrcoef(stc.data.ravel(), expected.ravel())[0, 1] > 0.98


def test_epochs_that_are_too_loud_are_left_out(epochs, eeg_cov, forwards, model):
    """The user's own epochs stay as they are."""
    loudest = np.ptp(epochs.get_data(), axis=2).max(axis=1)
    limits = dict(eeg=(loudest[1] + loudest[2]) / 2)
    raw = mne.io.RawArray(np.hstack(epochs.get_data()), epochs.info, verbose=False)
    events = np.array([[12 * k, 0, 1] for k in range(3)])
    lazy = mne.Epochs(raw, events, tmin=0, tmax=0.11, baseline=None, reject=limits, verbose=False)
    operator = make_piunet(epochs.info, forwards["discrete"], eeg_cov, model=model)
    stcs = apply_piunet_epochs(lazy, operator)
    with pytest.raises(RuntimeError, match="bad epochs have not been dropped"):
        len(lazy)
    whole = apply_piunet_epochs(epochs, operator)
    for stc, k in zip(stcs, (0, 1), strict=True):
        np.testing.assert_allclose(stc.data, whole[k].data, atol=1e-5 * whole[k].data.max())


@pytest.fixture
def no_preparation(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("this takes long")

    monkeypatch.setattr("mne_piunet.operator.prepare_problem", fail)


@pytest.mark.usefixtures("no_preparation")
def test_bad_arguments_are_named_before_the_preparation(
    eeg_evoked, eeg_cov, epochs, forwards, model
):
    raw = mne.io.RawArray(eeg_evoked.data, eeg_evoked.info, verbose=False)
    of_each = ((fit_piunet, eeg_evoked), (apply_piunet, eeg_evoked), (apply_piunet_raw, raw),
               (apply_piunet_epochs, epochs))  # fmt: skip
    for function, data in of_each:
        for options, match in (
            (dict(pick_ori="normal"), "needs sources with a normal"),
            (dict(batch_size=0), "batch_size must be a whole number"),
            (dict(batch_size="auto"), "batch_size must be a whole number"),
            (dict(n_jobs=0), "n_jobs must be None, a number of threads, or -1"),
            (dict(backend="tpu"), "backend must be"),
            (dict(model="magic"), "no model 'magic'"),
        ):
            with pytest.raises(ValueError, match=match):
                function(data, forwards["volume"], eeg_cov, **(dict(model=model) | options))
        with pytest.raises(TypeError, match=r"forward must be an mne\.Forward"):
            function(data, "forward.fif", eeg_cov)
    given = forwards["surface"], eeg_cov
    with pytest.raises(TypeError, match="use apply_piunet"):
        apply_piunet_raw(epochs, *given)
    with pytest.raises(TypeError, match="use apply_piunet"):
        apply_piunet_epochs(eeg_evoked, *given)
    with pytest.raises(ValueError, match="no sample from 12"):
        apply_piunet_raw(raw, *given, start=12)
    with pytest.raises(ValueError, match="buffer_size must be a whole number"):
        apply_piunet_raw(raw, *given, buffer_size=0)


# %% Progress


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal shows."""
    stream = StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("mne_invkit._progress._DELAY", 0)
    monkeypatch.setattr("mne_invkit._progress.tqdm", partial(tqdm, file=stream))
    return stream


@pytest.mark.parametrize("verbose", [True, False])
@pytest.mark.parametrize("kind", ["evoked", "epochs", "raw"])
def test_long_runs_show_a_bar(epochs, eeg_cov, forwards, model, terminal, kind, verbose):
    operator = make_piunet(epochs.info, forwards["discrete"], eeg_cov, model=model, verbose=False)
    evoked = epochs.average()
    raw = mne.io.RawArray(evoked.data, evoked.info, verbose=False)
    run, inst = dict(
        evoked=(fit_piunet, evoked), epochs=(apply_piunet_epochs, epochs),
        raw=(apply_piunet_raw, raw),
    )[kind]  # fmt: skip
    run(inst, operator, verbose=verbose)
    n_samples = len(evoked.times) * (len(epochs) if kind == "epochs" else 1)
    assert (f"/{n_samples} [" in terminal.getvalue()) == verbose


def test_a_generator_shows_no_bar(epochs, eeg_cov, forwards, model, terminal):
    operator = make_piunet(epochs.info, forwards["discrete"], eeg_cov, model=model, verbose=False)
    list(apply_piunet_epochs(epochs, operator, return_generator=True, verbose=True))
    assert not terminal.getvalue()


def test_debugging_tells_times(epochs, eeg_cov, forwards, model, capsys):
    apply_piunet_epochs(epochs, forwards["discrete"], eeg_cov, model=model, verbose="DEBUG")
    text = capsys.readouterr().out
    assert re.search(r"Prepared \d+ voxels, of a grid of \(\d+, \d+, \d+\), in \d+ blocks", text)
    assert len(re.findall(r"\d+ samples took [\d.]+ s", text)) == len(epochs)


def test_channels_that_are_bad_in_one_evoked_of_a_list(eeg_evoked, eeg_cov, forwards, model):
    """They are left out of all, as the other solvers do."""
    other = eeg_evoked.copy()
    other.info["bads"] = ["Cz"]
    both = fit_piunet([eeg_evoked, other], forwards["surface"], eeg_cov, model=model)
    assert "Cz" not in both.problem.info["ch_names"]
    one = apply_piunet(other, forwards["surface"], eeg_cov, model=model)
    np.testing.assert_array_equal(both.stc[1].data, one.data)


def test_too_few_sensors_for_the_network(eeg_evoked, eeg_cov, forwards, model):
    few = eeg_evoked.copy().pick(["Cz", "Pz", "Fz"])
    with pytest.raises(ValueError, match="only 2 independent sensors, and the network needs 3"):
        apply_piunet(few, forwards["surface"], eeg_cov, model=model)


@pytest.mark.parametrize("span", [dict(start=1.5), dict(stop="9")])
def test_samples_are_whole_numbers(span, eeg_evoked, eeg_cov, forwards, model):
    raw = mne.io.RawArray(eeg_evoked.data, eeg_evoked.info, verbose=False)
    with pytest.raises(ValueError, match=r"whole number of samples.*time_as_index"):
        apply_piunet_raw(raw, forwards["surface"], eeg_cov, model=model, **span)
