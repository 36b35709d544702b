"""Problems and results come back from files to the bit, whatever the data and source space."""

import os
import subprocess
import sys
from functools import partial

import h5py
import mne
import numpy as np
import pytest
from parts import ask_for_all, the_same
from processes import full_disk

from mne_invkit import make_result, prepare_problem, read_result
from mne_invkit.inverse.files import pack_problem, read_parts, save_stc, unpack_problem
from mne_invkit.inverse.packing import pack_instance, unpack_instance
from mne_invkit.inverse.result import InverseResult
from mne_invkit.inverse.stc import STC_CLASSES

prepare = partial(prepare_problem, verbose=False)
KINDS = ("surface", "volume", "discrete", "mixed")


@pytest.fixture(scope="module")
def raw(eeg_info, make_evoked):
    evoked = make_evoked(eeg_info, n_times=100)
    raw = mne.io.RawArray(evoked.data, evoked.info, first_samp=50, verbose="error")
    notes = mne.Annotations([0.1, 0.5, 0.7], [0.1, 0, 0.11], ["blink", "eye/left", "BAD_jump"])
    return raw.set_annotations(notes)


@pytest.fixture(scope="module")
def epochs(raw):
    events = np.array([[60, 0, 1], [80, 0, 2], [100, 0, 1]])
    names = {"auditory/left": 1, "auditory/right": 2}
    return mne.Epochs(raw, events, names, 0, 0.1, baseline=None, preload=True, verbose="error")


@pytest.fixture(scope="module")
def insts(epochs, raw, eeg_info, make_evoked, tmp_path_factory):
    """All kinds of data, by name, also those that are on disk."""
    path = tmp_path_factory.mktemp("disk") / "some_raw.fif"
    raw.save(path, fmt="double", verbose="error")
    on_disk = mne.io.read_raw_fif(path, verbose="error")
    events = mne.make_fixed_length_events(on_disk, duration=0.3)
    evoked = make_evoked(eeg_info)
    evoked.comment, evoked.nave, evoked.baseline = "tones", 7, (-0.02, 0.0)
    return {
        "evoked": evoked,
        "list": [evoked, make_evoked(eeg_info, nave=3, rng=1)],
        "epochs": epochs,
        "raw": raw,
        "raw on disk": on_disk,
        "epochs on disk": mne.Epochs(on_disk, events, tmin=0, tmax=0.2, baseline=None),
    }


def random_result(problem, **options):
    shape = (len(problem.data), problem.gain.shape[1], len(problem.times))
    found = np.random.default_rng(0).standard_normal(shape)
    return make_result(problem, found, module=__name__, **options, verbose=False)


def through_file(result, folder):
    result.save(folder / "result.h5")
    return read_result(folder / "result.h5")


NAMES = ("evoked", "list", "epochs", "raw", "raw on disk", "epochs on disk")


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_result_can_be_asked_for_comes_back(name, insts, forwards, eeg_cov, tmp_path):
    result = random_result(prepare(insts[name], forwards["surface"], eeg_cov))
    again = through_file(result, tmp_path)
    assert type(again) is InverseResult
    expected, found = ask_for_all(result), ask_for_all(again)
    for part in expected:
        the_same(expected[part], found[part])
    assert expected["settings"] == found["settings"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_space_comes_back(kind, insts, forwards, eeg_cov, tmp_path):
    forward = forwards[kind]
    result = random_result(
        prepare(insts["evoked"], forward, eeg_cov), pick_ori="vector", sparse=kind == "mixed",
        unit="dSPM", weights=np.full(3 * forward["nsource"], 1e8), settings={"f": np.mean},
        cost=np.arange(3.0),
    )  # fmt: skip
    again = through_file(result, tmp_path)
    the_same(again.stc, result.stc)
    the_same(again.residual, result.residual)
    the_same(again.dipoles(3), result.dipoles(3))
    assert (again.unit, again.code) == (result.unit, result.code)
    assert again.settings == {**result.settings, "f": "mean"}
    np.testing.assert_array_equal(again.cost, result.cost)
    assert again.problem.forward["src"].kind == forward["src"].kind
    for space, old in zip(again.problem.forward["src"], forward["src"], strict=True):
        for name in ("rr", "nn", "vertno", "inuse", "tris"):
            np.testing.assert_array_equal(space[name], old[name])
        the_same(space.get("neighbor_vert"), old.get("neighbor_vert"))


def test_a_volume_of_the_template_is_small(insts, forwards, eeg_cov, tmp_path):
    """The interpolation to the voxels of its MRI takes 270 MB."""
    src = forwards["volume"]["src"]
    assert src[0]["interpolator"].data.nbytes > 1e8
    result = random_result(prepare(insts["evoked"], forwards["volume"], eeg_cov))
    again = through_file(result, tmp_path)
    assert (tmp_path / "result.h5").stat().st_size < 2e6
    light = again.problem.forward["src"]
    volume = again.stc.as_volume(light, mri_resolution=False)
    assert volume.shape == (*light[0]["shape"], len(again.stc.times))
    with pytest.raises(RuntimeError, match="MRI interpolator not present"):
        again.stc.as_volume(light, mri_resolution=True)


def test_distances_along_the_cortex_are_left_out(insts, forwards, eeg_cov):
    """They take most of the room of real source spaces, and MNE can make them again."""
    problem = prepare(insts["evoked"], forwards["surface"], eeg_cov)
    problem.forward["src"] = mne.SourceSpaces([{**s} for s in problem.forward["src"]])
    problem.forward["src"][0] |= {"dist": np.eye(3), "dist_limit": 0.1}
    again = unpack_problem(pack_problem(problem)).forward["src"]
    assert again[0]["dist"] is None
    assert again[0]["dist_limit"] is None


# %% Data


def test_data_are_never_split(insts, monkeypatch):
    """MNE's own files are, above 2 GB, so that no data go through them."""
    for kind in (mne.Evoked, mne.BaseEpochs, mne.io.BaseRaw):
        monkeypatch.setattr(kind, "save", None)
    for name in ("evoked", "epochs", "raw", "raw on disk"):
        inst = insts[name]
        again = unpack_instance(pack_instance(inst, inst.ch_names[3:]))
        assert again.ch_names == inst.ch_names[3:]
        np.testing.assert_array_equal(again.get_data(), inst.get_data(picks=inst.ch_names[3:]))
        np.testing.assert_array_equal(again.times, inst.times)


def test_events_and_their_names_come_back(epochs):
    again = unpack_instance(pack_instance(epochs, epochs.ch_names))
    np.testing.assert_array_equal(again.events, epochs.events)
    assert again.event_id == epochs.event_id
    assert again.drop_log == epochs.drop_log
    np.testing.assert_array_equal(again.selection, epochs.selection)
    assert len(again["auditory/left"]) == 2


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, within MNE
def test_metadata_come_back(epochs):
    pd = pytest.importorskip("pandas")
    epochs = epochs.copy()
    when = pd.to_datetime(["2020-01-01"] * 3)
    epochs.metadata = pd.DataFrame({"number": [1, 2, 3], "word": ["a", "b", None], "when": when})
    again = unpack_instance(pack_instance(epochs, epochs.ch_names))
    assert list(again.metadata["number"]) == [1, 2, 3]
    assert list(again.metadata["word"])[:2] == ["a", "b"]
    assert again.metadata["when"][0].startswith("2020-01-01")
    assert len(again["number > 1"]) == 2


@pytest.mark.parametrize("date", [None, 10**9])
def test_annotations_come_back(date, raw):
    raw = raw.copy().set_meas_date(date)
    raw.set_annotations(mne.Annotations([0.1, 0.5], [0.1, 0], ["blink", "eye/left"]))
    again = unpack_instance(pack_instance(raw, raw.ch_names))
    assert again.first_samp == 50
    np.testing.assert_array_equal(again.annotations.onset, raw.annotations.onset)
    np.testing.assert_array_equal(again.annotations.duration, raw.annotations.duration)
    assert list(again.annotations.description) == ["blink", "eye/left"]
    assert again.annotations.orig_time == raw.annotations.orig_time


def test_info_is_as_exact_as_before(make_evoked, eeg_info):
    """Files of MNE keep sampling rates and positions in single precision, and Latin letters."""
    evoked = make_evoked(eeg_info)
    evoked.info["bads"] = ["Cz"]
    evoked.rename_channels({"Fp1": "电极"})
    evoked = evoked.resample(1000 / 3, verbose="error")
    again = unpack_instance(pack_instance(evoked, evoked.ch_names))
    assert again.info["sfreq"] == evoked.info["sfreq"]
    assert again.info["bads"] == ["Cz"]
    assert again.ch_names == evoked.ch_names
    np.testing.assert_array_equal(again.times, evoked.times)
    for one, other in zip(again.info["chs"], evoked.info["chs"], strict=True):
        np.testing.assert_array_equal(one["loc"], other["loc"])
    (one,), (other,) = again.info["projs"], evoked.info["projs"]
    np.testing.assert_array_equal(one["data"]["data"], other["data"]["data"])
    assert one["active"] == other["active"]


# %% Files of results


@pytest.fixture(scope="module")
def result(insts, forwards, eeg_cov):
    return random_result(prepare(insts["evoked"], forwards["discrete"], eeg_cov))


def test_files_are_named_h5_and_not_overwritten_by_chance(result, tmp_path):
    with pytest.raises(ValueError, match=r"must end with \.h5"):
        result.save(tmp_path / "result.fif")
    result.save(tmp_path / "result.h5")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        result.save(tmp_path / "result.h5")
    result.save(tmp_path / "result.h5", overwrite=True)


def test_the_name_is_checked_before_data_are_read(result, tmp_path, monkeypatch):
    monkeypatch.setattr(InverseResult, "pack", None)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        result.save(tmp_path / "nowhere" / "result.h5")


def test_the_same_result_makes_the_same_file(result, tmp_path):
    for name in ("one.h5", "two.h5"):
        result.save(tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_class_that_no_reader_knows_is_not_saved(result, tmp_path):
    class Own(InverseResult):
        """A class with more in it."""

    own = Own(result.problem, result.found)
    with pytest.raises(TypeError, match=r"give the class a `file_kind`"):
        own.save(tmp_path / "own.h5")
    assert not (tmp_path / "own.h5").exists()


def test_an_estimate_is_another_file(result, tmp_path):
    save_stc(result.stc, tmp_path / "some-stc.h5")
    with pytest.raises(ValueError, match=r"some-stc\.h5.*no result.*mne\.read_source_estimate"):
        read_parts(tmp_path / "some-stc.h5")


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_estimate_is_as_mne_saves_it(kind, vector, tmp_path):
    n_spaces = {"surface": 2, "mixed": 3}.get(kind, 1)
    vertices = [np.arange(k, 4) for k in range(n_spaces)]
    n_locations = sum(map(len, vertices))
    data = np.random.default_rng(0).standard_normal(
        (n_locations, 3, 5) if vector else (n_locations, 5)
    )
    stc = STC_CLASSES[kind, vector](data, vertices, -0.1, 0.01, "sample")
    save_stc(stc, tmp_path / "ours-stc.h5")
    the_same(mne.read_source_estimate(tmp_path / "ours-stc.h5"), stc)
    stc.save(tmp_path / "theirs-stc.h5", ftype="h5", verbose="error")
    ours, theirs = (stored(tmp_path / f"{who}-stc.h5") for who in ("ours", "theirs"))
    assert ours == theirs


def stored(path):
    """Names and attributes of all that is stored in a file."""
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.append((name, *node.attrs.items())))
    return found


FULL = """
import sys, mne
from pathlib import Path
from mne_invkit import read_result
from mne_invkit.inverse.files import save_stc
folder = Path(sys.argv[1])
result = read_result(sys.argv[2])
path = folder / "old.h5"
for save in (lambda: result.save(path, overwrite=True), lambda: save_stc(result.stc, path)):
    try:
        save()
    except OSError as error:
        print(error)
sys.exit(1)
"""


def test_a_full_disk_is_an_error_and_no_crash(insts, forwards, eeg_cov, tmp_path):
    """Of the process, too, which HDF5 crashes as it ends."""
    result = random_result(prepare(insts["raw"], forwards["surface"], eeg_cov))
    result.save(tmp_path / "result.h5")
    with full_disk(tmp_path / "disk") as disk:
        (disk / "old.h5").write_bytes(b"old")
        (disk / "other").write_bytes(bytes(2**20 - 2**15))
        command = [sys.executable, "-c", FULL, disk, tmp_path / "result.h5"]
        run = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        assert run.returncode == 1, run.stderr
        line = f"[Errno 28] No space left on device: '{disk / 'old.h5'}'"
        assert run.stdout.splitlines() == [line, line]
        assert (disk / "old.h5").read_bytes() == b"old"
        assert sorted(path.name for path in disk.iterdir()) == ["old.h5", "other"]


def test_without_data_a_problem_comes_back_too(forwards, eeg_info, eeg_cov, insts):
    problem = prepare(insts["evoked"].info, forwards["surface"], eeg_cov)
    again = unpack_problem(pack_problem(problem))
    np.testing.assert_array_equal(
        again.with_data(insts["evoked"]).data, problem.with_data(insts["evoked"]).data
    )
