"""The prepared operator: what it estimates, holds, warns of and tells about itself."""

import dataclasses
import pickle

import mne
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from parts import the_same

from mne_invkit import read_result
from mne_invkit._hdf5 import write_plain
from mne_piunet import apply_piunet, fit_piunet, make_piunet, read_piunet
from mne_piunet.operator import xyz_gain


@pytest.fixture(scope="module")
def operator(eeg_info, eeg_cov, forwards, model):
    return make_piunet(eeg_info, forwards["surface"], eeg_cov, model=model)


def test_size_is_the_least_squares_fit(eeg_evoked, operator):
    """The field of each sample fits the data as well as any multiple of it could."""
    data = operator.problem.with_data(eeg_evoked).data[0]
    field = operator.problem.gain @ operator.estimate(data)
    fits = np.sum(field**2, axis=0) > 0  # a negative multiple is not taken
    assert fits.any()
    inner = np.sum(field * (data - field), axis=0)[fits]
    np.testing.assert_allclose(inner, 0, atol=1e-4 * np.sum(data**2, axis=0).max())


def test_batches_and_threads_make_no_difference(eeg_evoked, operator):
    data = operator.problem.with_data(eeg_evoked).data[0]
    expected = operator.estimate(data)
    for options in (dict(batch_size=1, n_jobs=3), dict(batch_size=1000), dict(batch_size=5)):
        found = operator.estimate(data, **options)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_it_can_be_pickled_with_either_backend(backend, eeg_evoked, eeg_cov, forwards, model):
    pytest.importorskip(backend)
    forward = forwards["surface"]
    expected = apply_piunet(eeg_evoked, forward, eeg_cov, model=model, backend="torch")
    operator = make_piunet(eeg_evoked.info, forward, eeg_cov, model=model, backend=backend)
    operator = pickle.loads(pickle.dumps(operator))
    stc = apply_piunet(eeg_evoked, operator, batch_size=5)
    np.testing.assert_allclose(stc.data, expected.data, atol=1e-4 * expected.data.max())


def test_its_description_is_one_line(operator):
    text = repr(operator)
    assert text.startswith("<PIUNet | model random by torch, 32 channels of rank 31, ")
    assert f" {operator.problem.forward['nsource']} locations x 3, " in text
    assert "\n" not in text
    assert len(text) < 120
    for part in (operator.voxel_model, operator.gather, operator.problem, operator.network):
        assert len(repr(part)) < 200
    html = operator._repr_html_()
    assert html.startswith("<table")
    assert "model random by torch" in html


def test_n_jobs_is_that_of_the_operator_unless_given(operator, eeg_evoked, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mne_piunet.operator.run_side_by_side",
        lambda function, items, n_jobs: asked.append(n_jobs) or list(map(function, items)),
    )
    data = operator.problem.with_data(eeg_evoked).data[0][:, :1]
    two = dataclasses.replace(operator, n_jobs=2)
    for one, options in ((operator, {}), (two, {}), (two, dict(n_jobs=-1))):
        one.estimate(data, **options)
    assert asked == [None, 2, -1]


def test_xyz_gain_is_the_gain_of_moments_in_the_head_frame(operator):
    problem = operator.problem
    moments = np.random.default_rng(0).standard_normal((problem.forward["nsource"], 3))
    components = np.einsum("noi,ni->no", problem.axes, moments).ravel()
    expected = problem.gain @ components
    np.testing.assert_allclose(xyz_gain(problem) @ moments.ravel(), expected, rtol=1e-3, atol=1e-3)


# %% Files


@pytest.mark.parametrize("kind", ["discrete", "fixed"])
@pytest.mark.filterwarnings("ignore:The data have less than")
def test_an_operator_comes_back_from_a_file(kind, eeg_evoked, eeg_cov, forwards, model, tmp_path):
    if kind == "fixed":
        forward = mne.convert_forward_solution(
            forwards["surface"], surf_ori=True, force_fixed=True, verbose="error"
        )
    else:
        forward = forwards[kind]
    operator = make_piunet(eeg_evoked.info, forward, eeg_cov, model=model, n_jobs=1)
    operator.save(tmp_path / "operator.h5")
    again = read_piunet(tmp_path / "operator.h5", model=model)
    assert repr(again) == repr(operator)
    assert again.n_jobs == 1
    assert read_piunet(tmp_path / "operator.h5", model=model, n_jobs=2).n_jobs == 2
    expected, found = (fit_piunet(eeg_evoked, one) for one in (operator, again))
    np.testing.assert_array_equal(found.found, expected.found)
    the_same(found.stc, expected.stc)
    the_same(found.residual, expected.residual)
    assert found.settings == expected.settings


def test_the_backend_of_an_operator_is_kept(eeg_info, eeg_cov, forwards, model, tmp_path):
    pytest.importorskip("onnxruntime")
    operator = make_piunet(
        eeg_info, forwards["discrete"], eeg_cov, model=model, backend="onnxruntime"
    )
    operator.save(tmp_path / "operator.h5")
    assert read_piunet(tmp_path / "operator.h5", model=model).network.backend == "onnxruntime"
    other = read_piunet(tmp_path / "operator.h5", model=model, backend="torch")
    assert other.network.backend == "torch"


def test_other_weights_are_refused(operator, tmp_path):
    path = tmp_path / "operator.h5"
    operator.save(path)
    with pytest.raises(ValueError, match=r"model 'random', which does not come.*pass its weights"):
        read_piunet(path)
    with pytest.raises(ValueError, match=r"'random', and .*default\.safetensors has other weights"):
        read_piunet(path, model="default")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        operator.save(path)


def test_operators_and_results_are_told_apart(operator, tmp_path):
    path = tmp_path / "some.h5"
    operator.save(path)
    with pytest.raises(ValueError, match=r"holds 'PIUNet operator'.*mne_piunet\.read_piunet"):
        read_result(path)
    write_plain(path, "inverse", {})
    with pytest.raises(ValueError, match="holds 'inverse', no operator: read it with read_result"):
        read_piunet(path)
    write_plain(path, "PIUNet operator", {})
    with pytest.raises(ValueError, match=r"some\.h5 holds other parts than expected"):
        read_piunet(path)


# %% What is unlike the training


def test_few_sensors_warn(eeg_evoked, eeg_cov, forwards, model):
    few = eeg_evoked.copy().pick(eeg_evoked.ch_names[:12])
    with pytest.warns(RuntimeWarning, match="independent sensors"):
        stc = apply_piunet(few, forwards["discrete"], eeg_cov, model=model)
    assert np.isfinite(stc.data).all()
    assert (stc.data.max(axis=0) > 0).any()


def test_loud_and_quiet_data_warn(eeg_evoked, operator):
    for factor, match in ((0.01, "too blurred"), (1000.0, "errors of the head model")):
        evoked = eeg_evoked.copy()
        evoked.data *= factor
        with pytest.warns(RuntimeWarning, match=match):
            apply_piunet(evoked, operator)


def test_the_noise_of_averages_is_weaker(eeg_evoked, operator):
    """An average of 100 trials of noise is as loud as its noise, and so no warning comes."""
    evoked = eeg_evoked.copy()
    evoked.data /= 10
    evoked.nave = 100
    apply_piunet(evoked, operator)


def test_a_piece_of_the_brain_warns(eeg_evoked, eeg_cov, sphere, model):
    rr = np.array([0, 0, 0.04]) + 0.01 * np.random.default_rng(0).standard_normal((50, 3))
    src = mne.setup_volume_source_space(pos=dict(rr=rr, nn=rr), verbose=False)
    forward = mne.make_forward_solution(eeg_evoked.info, None, src, sphere, verbose=False)
    with pytest.warns(RuntimeWarning, match="source space spans"):
        make_piunet(eeg_evoked.info, forward, eeg_cov, model=model)
