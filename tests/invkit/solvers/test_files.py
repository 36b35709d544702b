"""Results of all solvers are found by a name in a table; what a file names is never imported."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
from sealed import seal

from mne_invkit import Solver, make_result, prepare_problem, read_result
from mne_invkit._hdf5 import write_plain
from mne_invkit.inverse.result import InverseResult


@dataclass(frozen=True, eq=False)
class OwnResult(InverseResult):
    """A result of a plugin, with something more in it."""

    file_kind = "own"
    more: int = 1


@pytest.fixture
def result(eeg_evoked, forwards, eeg_cov):
    problem = prepare_problem(eeg_evoked, forwards["discrete"], eeg_cov, verbose=False)
    found = np.ones((1, problem.gain.shape[1], len(problem.times)))
    return make_result(problem, found, module=__name__, verbose=False)


def test_results_of_a_plugin_come_back(result, tmp_path, monkeypatch):
    own = OwnResult(result.problem, result.found, more=7)
    own.save(tmp_path / "own.h5")
    with pytest.raises(ValueError, match=r"own\.h5 holds 'own', and no installed solver"):
        read_result(tmp_path / "own.h5")
    solver = Solver("own", fit=print, description="Ours", result=OwnResult)
    monkeypatch.setattr("mne_invkit.solvers.files.find_solvers", lambda: {"own": solver})
    again = read_result(tmp_path / "own.h5")
    assert type(again) is OwnResult
    assert again.more == 7
    np.testing.assert_array_equal(again.stc.data, result.stc.data)


@pytest.mark.parametrize("kind", ["os", "os.system", "antigravity", "__class__", "eloreta"])
def test_a_name_in_a_file_imports_nothing(kind, tmp_path):
    write_plain(tmp_path / "some.h5", kind, {})
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"some\.h5 holds .*no installed solver"):
        read_result(tmp_path / "some.h5")
    assert kind == "eloreta" or kind not in set(sys.modules) - before


def test_other_parts_than_those_of_a_result_are_told(result, tmp_path):
    path = tmp_path / "some.h5"
    for parts in ({}, {"problem": {}}, result.pack() | {"more": 1}, result.pack() | {"problem": 3}):
        write_plain(path, "inverse", parts)
        with pytest.raises(ValueError, match=r"some\.h5 holds other parts than expected"):
            read_result(path)
    write_plain(path, "inverse", [1])
    with pytest.raises(ValueError, match=r"some\.h5 holds other parts than expected"):
        read_result(path)


def test_a_newer_file_asks_for_an_update(tmp_path):
    path = seal(tmp_path / "new.h5", lambda file: None, kind="inverse", number=17)
    with pytest.raises(ValueError, match=r"new\.h5 was written by a newer version"):
        read_result(path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*other\.h5"):
        read_result(tmp_path / "other.h5")
