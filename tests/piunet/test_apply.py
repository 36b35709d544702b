"""apply_piunet on MNE objects, with a small network of random weights: all but its accuracy."""

import pickle
import warnings

import mne
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mne_piunet import (
    apply_piunet,
    apply_piunet_epochs,
    apply_piunet_raw,
    fit_piunet,
    make_piunet,
)
from mne_piunet.inference import side_by_side
from mne_piunet.net.unet import PatchUNet
from mne_piunet.training.export import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """File of an untrained model."""
    torch.manual_seed(0)
    shape = dict(widths=(8, 16), n_blocks=(1, 2), patch=2)
    network = PatchUNet(**shape)
    torch.nn.init.normal_(network.head[-1].weight, std=0.1)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    return write_model(network, path, {}, shape).path


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


def test_size_is_the_least_squares_fit(eeg_evoked, eeg_cov, forwards, model):
    """The field of each sample fits the data as well as any multiple of it could."""
    operator = make_piunet(eeg_evoked.info, forwards["surface"], eeg_cov, model=model)
    data = operator.problem.with_data(eeg_evoked).data[0]
    field = operator.problem.gain @ operator.estimate(data)
    fits = np.sum(field**2, axis=0) > 0  # a negative multiple is not taken
    assert fits.any()
    inner = np.sum(field * (data - field), axis=0)[fits]
    np.testing.assert_allclose(inner, 0, atol=1e-4 * np.sum(data**2, axis=0).max())


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


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_prepared_operator_is_the_same_and_can_be_pickled(
    backend, eeg_evoked, eeg_cov, forwards, model
):
    pytest.importorskip(backend)
    forward = forwards["surface"]
    expected = apply_piunet(eeg_evoked, forward, eeg_cov, model=model, backend="torch")
    operator = make_piunet(eeg_evoked.info, forward, eeg_cov, model=model, backend=backend)
    operator = pickle.loads(pickle.dumps(operator))
    stc = apply_piunet(eeg_evoked, operator, batch_size=5)
    np.testing.assert_allclose(stc.data, expected.data, atol=1e-4 * expected.data.max())


def test_threads_are_given_back(eeg_evoked, eeg_cov, forwards, model):
    """Batches run side by side, each on one thread, and torch has its own again afterwards."""
    before = torch.get_num_threads()
    with side_by_side() as n_threads:
        assert n_threads == before
        assert torch.get_num_threads() == 1
    with pytest.raises(KeyError), side_by_side():
        raise KeyError
    assert torch.get_num_threads() == before
    operator = make_piunet(eeg_evoked.info, forwards["surface"], eeg_cov, model=model)
    one, other = (apply_piunet(eeg_evoked, operator, batch_size=size) for size in (1, 1000))
    np.testing.assert_allclose(one.data, other.data, atol=1e-4 * other.data.max())


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
    assert stc.data[:, 4].any()
    one = apply_piunet(evoked.crop(evoked.times[4], evoked.times[4]), forwards["surface"], eeg_cov,
                       model=model)  # fmt: skip
    np.testing.assert_allclose(one.data[:, 0], stc.data[:, 4], rtol=1e-3, atol=1e-15)


def test_nothing_but_silence(eeg_evoked, eeg_cov, forwards, model):
    evoked = eeg_evoked.copy().crop(0, 0)
    evoked.data[:] = 0
    stc = apply_piunet(evoked, forwards["volume"], eeg_cov, model=model)
    assert not stc.data.any()


def test_trials(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["volume"], eeg_cov, model=model)
    other = eeg_evoked.copy()
    other.data = -other.data
    one, two = apply_piunet([eeg_evoked, other], operator, pick_ori="vector")
    np.testing.assert_array_equal(
        one.data, apply_piunet(eeg_evoked, operator, pick_ori="vector").data
    )
    assert two.data.shape == one.data.shape


def test_other_channels_are_named(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["volume"], eeg_cov, model=model)
    with pytest.raises(ValueError, match=r"lack .* prepare it again"):
        apply_piunet(eeg_evoked.copy().drop_channels(["Cz"]), operator)
    bad = eeg_evoked.copy()
    bad.info["bads"] = ["Fp1"]
    with pytest.raises(ValueError, match=r"bad channels Fp1.*interpolate_bads"):
        apply_piunet(bad, operator)
    with pytest.raises(ValueError, match="backend must be"):
        make_piunet(eeg_evoked.info, forwards["volume"], eeg_cov, model=model, backend="tpu")


def test_few_sensors_warn(eeg_evoked, eeg_cov, forwards, model):
    few = eeg_evoked.copy().pick(eeg_evoked.ch_names[:12])
    with pytest.warns(RuntimeWarning, match="independent sensors"):
        stc = apply_piunet(few, forwards["volume"], eeg_cov, model=model)
    assert np.isfinite(stc.data).all()


def test_loud_and_quiet_data_warn(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["volume"], eeg_cov, model=model)
    for factor, match in ((0.01, "too blurred"), (1000.0, "errors of the head model")):
        evoked = eeg_evoked.copy()
        evoked.data *= factor
        with pytest.warns(RuntimeWarning, match=match):
            apply_piunet(evoked, operator)


def test_a_piece_of_the_brain_warns(eeg_evoked, eeg_cov, sphere, model):
    rr = np.array([0, 0, 0.04]) + 0.01 * np.random.default_rng(0).standard_normal((50, 3))
    src = mne.setup_volume_source_space(pos=dict(rr=rr, nn=rr), verbose=False)
    forward = mne.make_forward_solution(eeg_evoked.info, None, src, sphere, verbose=False)
    with pytest.warns(RuntimeWarning, match="sources span"):
        make_piunet(eeg_evoked.info, forward, eeg_cov, model=model)


@pytest.fixture
def lone_source(eeg_info, sphere):
    """Forward solution of one source."""
    src = mne.setup_volume_source_space(
        pos=dict(rr=[[0.03, 0.01, 0.07]], nn=[[0.0, 0.0, 1.0]]), verbose=False
    )
    return mne.make_forward_solution(eeg_info, None, src, sphere, verbose=False)


@pytest.mark.filterwarnings("ignore:The sources span")
def test_one_source_and_a_hundred_thousand_samples(lone_source, eeg_info, eeg_cov, model):
    """The only source gets the whole amplitude, at every sample."""
    moment = 1e-7 * np.sin(np.arange(100_000) / 50)
    gain = lone_source["sol"]["data"][:, 2]
    raw = mne.io.RawArray(np.outer(gain - gain.mean(), moment), eeg_info, verbose=False)
    raw.set_eeg_reference("average", projection=True, verbose=False)
    stc = apply_piunet_raw(
        raw, lone_source, eeg_cov, model=model, buffer_size=20_000, batch_size=1000
    )
    assert stc.data.shape == (1, 100_000)
    loud = np.abs(moment) > 1e-8
    assert np.median(stc.data[0, loud] / np.abs(moment[loud])) == pytest.approx(1, abs=0.3)


def test_data_of_another_sampling_rate(eeg_evoked, eeg_cov, forwards, model):
    """An operator knows sensors and sources; times are those of the data."""
    operator = make_piunet(eeg_evoked.info, forwards["volume"], eeg_cov, model=model)
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
    operator = make_piunet(epochs.info, forwards["volume"], eeg_cov, model=model)
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


def test_what_is_no_raw_or_epochs(eeg_evoked, eeg_cov, epochs, forwards, model):
    with pytest.raises(TypeError, match="use apply_piunet"):
        apply_piunet_raw(epochs, forwards["surface"], eeg_cov, model=model)
    with pytest.raises(TypeError, match="use apply_piunet"):
        apply_piunet_epochs(eeg_evoked, forwards["surface"], eeg_cov, model=model)
    raw = mne.io.RawArray(eeg_evoked.data, eeg_evoked.info, verbose=False)
    with pytest.raises(ValueError, match="no sample from 12"):
        apply_piunet_raw(raw, forwards["surface"], eeg_cov, start=12, model=model)
    with pytest.raises(ValueError, match="buffer_size"):
        apply_piunet_raw(raw, forwards["surface"], eeg_cov, buffer_size=0, model=model)
    with pytest.raises(ValueError, match="batch_size"):
        apply_piunet(eeg_evoked, forwards["surface"], eeg_cov, model=model, batch_size=0)
