"""The network behind one call, and the threads that it takes and gives back."""

import pickle
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

torch = pytest.importorskip("torch")

from mne_piunet import apply_piunet, make_piunet
from mne_piunet.inference import (
    BACKENDS,
    Network,
    find_backend,
    import_onnxruntime,
    run_side_by_side,
)
from mne_piunet.kernel.inputs import MASK, N_INPUTS


def blas_threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


@pytest.fixture
def four_threads():
    """Four threads for torch and two for BLAS, whatever the environment says."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


# %% Threads


@pytest.mark.usefixtures("four_threads")
def test_every_thread_computes_alone_and_all_is_given_back():
    seen = []
    meet = threading.Barrier(4)

    def look(item):
        meet.wait(timeout=60)  # all four are there at the same time
        seen.append((threading.get_ident(), torch.get_num_threads(), *blas_threads()))

    before = blas_threads()
    run_side_by_side(look, range(4))
    assert len({ident for ident, *_ in seen}) == 4
    assert {n for _, *counts in seen for n in counts} == {1}
    assert torch.get_num_threads() == 4
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError):
        run_side_by_side(lambda item: 1 / item, [0])
    assert torch.get_num_threads() == 4
    assert blas_threads() == before


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 4), (1, 1), (3, 3)])
def test_number_of_threads(n_jobs, expected):
    seen, lock, full = set(), threading.Lock(), threading.Event()

    def look(item):
        with lock:
            seen.add(threading.get_ident())
            if len(seen) == expected:
                full.set()
        full.wait(timeout=60)  # no thread takes a second item before all are there

    run_side_by_side(look, range(12), n_jobs)
    assert len(seen) == expected


@pytest.mark.usefixtures("four_threads")
def test_calls_that_overlap_restore_all():
    """The first ends while the second goes on; the second started when torch had one thread."""
    inside, first_is_over = threading.Event(), threading.Event()
    counts = {}

    def second():
        def wait(item):
            inside.set()
            first_is_over.wait(timeout=60)
            counts["worker"] = torch.get_num_threads()

        run_side_by_side(wait, [0])
        counts["second"] = torch.get_num_threads()

    before = blas_threads()
    thread = threading.Thread(target=second)

    def first(item):
        thread.start()
        inside.wait(timeout=60)

    run_side_by_side(first, [0])
    counts["first"] = torch.get_num_threads()
    assert blas_threads() == before
    first_is_over.set()
    thread.join()
    assert counts == {"first": 4, "second": 4, "worker": 1}
    assert torch.get_num_threads() == 4
    assert blas_threads() == before
    new = threading.Thread(target=lambda: counts.update(new=torch.get_num_threads()))
    new.start()
    new.join()
    assert counts["new"] == 4


@pytest.mark.usefixtures("four_threads")
def test_operators_can_be_used_by_several_threads(eeg_evoked, eeg_cov, forwards, model):
    operator = make_piunet(eeg_evoked.info, forwards["discrete"], eeg_cov, model=model)
    expected = apply_piunet(eeg_evoked, operator).data
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(apply_piunet(eeg_evoked, operator).data))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for data in found:
        np.testing.assert_allclose(data, expected, atol=1e-5 * expected.max())
    assert torch.get_num_threads() == 4


def test_without_torch_as_many_threads_as_blas_has(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    seen, meet = [], threading.Barrier(2)

    def look(item):
        meet.wait(timeout=60)
        seen.append(threading.get_ident())

    with threadpool_limits(2, user_api="blas"):
        run_side_by_side(look, range(4))
    assert len(set(seen)) == 2


# %% Network


@pytest.fixture
def inputs():
    """Inputs of four blocks, and their places."""
    inputs = np.random.default_rng(0).random((2, N_INPUTS, 4 * 8), np.float32)
    inputs[:, MASK] = 1
    places = np.full((2, 2, 4), 4)
    places[:, 0, :2] = np.arange(4).reshape(2, 2)
    return inputs, places


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pickled_network_loads_the_weights_when_it_is_called(backend, model, inputs):
    pytest.importorskip(backend)
    network = Network(model, backend)
    text = pickle.dumps(network)
    assert len(text) < 10_000 < model.path.stat().st_size
    again = pickle.loads(text)
    assert again._run is None
    np.testing.assert_array_equal(again(*inputs), network(*inputs))
    assert again._run is not None


@pytest.mark.parametrize("own", [None, "0"])
def test_onnxruntime_is_imported_without_telemetry(tmp_path, monkeypatch, own):
    """Unless the user allows it, the variable is set before the import."""
    text = "import os\nseen = os.environ['ORT_DISABLE_TELEMETRY']\noff = []\n"
    text += "def disable_telemetry_events():\n    off.append(True)\n"
    (tmp_path / "onnxruntime.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # so that the false one goes away again
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", own or "1")
    if own is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    onnxruntime = import_onnxruntime()
    monkeypatch.delitem(sys.modules, "onnxruntime")
    assert onnxruntime.seen == (own or "1")
    assert onnxruntime.off == ([] if own else [True])


def test_backends_are_found_or_named(model, monkeypatch):
    assert Network(model).backend == "torch"
    with pytest.raises(ValueError, match="backend must be 'auto' or one of"):
        Network(model, "tpu")
    monkeypatch.setattr("mne_piunet.inference.find_spec", lambda name: name == "onnxruntime")
    with pytest.raises(ImportError, match="finds no torch: pip install"):
        Network(model, "torch")
    monkeypatch.setattr("mne_piunet.inference.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="neither torch nor onnxruntime: pip install"):
        Network(model)


def test_torch_without_safetensors_is_no_backend(monkeypatch):
    there = ["torch", "onnxruntime"]
    monkeypatch.setattr("mne_piunet.inference.find_spec", lambda name: name in there)
    assert find_backend("auto") == "onnxruntime"
    with pytest.raises(ImportError, match="or torch and safetensors"):
        find_backend("torch")
