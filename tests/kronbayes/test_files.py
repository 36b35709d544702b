"""Fits in files: of today, of the first format, and those that are crafted or damaged."""

import sys
from pathlib import Path

import h5io
import h5py
import numpy as np
import pytest

from mne_invkit import read_result
from mne_invkit._hdf5 import write_plain
from mne_invkit.inverse import format1
from mne_kronbayes import KronBayesResult, read_kron_bayes

FOLDER = Path(__file__).parent
FIRST = {"evoked": (6.58280585110627e-09, 95.58685684110723, 3), "epochs": (7.858e-9, 91.6347, 1)}
"""Largest amplitude, explained variance and number of sources when the files were written."""


@pytest.mark.parametrize("name", FIRST)
def test_files_of_the_first_format_are_read(name, tmp_path):
    path = FOLDER / f"{name}_format1.h5"
    with pytest.warns(RuntimeWarning, match="early version and has no checksum.*write it again"):
        result = read_result(path)
    largest, explained, n_sources = FIRST[name]
    stcs = result.stc if isinstance(result.stc, list) else [result.stc]
    assert max(np.abs(stc.data).max() for stc in stcs) == pytest.approx(largest, rel=1e-3)
    assert result.explained_variance == pytest.approx(explained, rel=1e-5)
    assert len(result.active) == n_sources
    assert result.converged is True
    assert result.settings["tol"] == 1e-3
    result.save(tmp_path / "again.h5")
    again = read_kron_bayes(tmp_path / "again.h5")
    np.testing.assert_array_equal(again.average().data, result.average().data)
    assert again.settings == result.settings


def refused(path, match):
    with pytest.raises((ValueError, OSError), match=match) as caught:
        read_kron_bayes(path)
    assert str(path) in str(caught.value)


def crafted(file, title="timezone", name="mne_kronbayes/key_settings"):
    """A node of a file of the first format, whose title made h5io run or import what it names."""
    del file[name]
    text = b"print('executed') or datetime.timezone.utc"
    file[name] = np.frombuffer(text, np.uint8)
    file[name].attrs["TITLE"] = title


def loop(file):
    file["mne_kronbayes/key_problem/key_more"] = file["mne_kronbayes"]


def many(file):
    """Ten links to ten links to ten links."""
    group = file["mne_kronbayes/key_settings"]
    for _ in range(14):
        inner = group.create_group("key_0")
        inner.attrs["TITLE"] = "dict"
        for k in range(1, 10):
            group[f"key_{k}"] = inner
        group = inner


def bomb(file):
    name = "mne_kronbayes/key_problem/key_data"
    del file[name]
    file.create_dataset(name, shape=(10**9,), dtype="f8", compression="gzip", chunks=(10**6,))
    file[name].attrs["TITLE"] = "ndarray"


def text_bomb(file):
    name = "mne_kronbayes/key_code"
    del file[name]
    file.create_dataset(name, data=np.zeros(10**8, "u1"), compression="gzip")
    file[name].attrs["TITLE"] = "unicode"


def elsewhere(file):
    del file["mne_kronbayes/key_settings"]
    file["mne_kronbayes/key_settings"] = h5py.ExternalLink("other.h5", "/")


def imported(file):
    file["mne_kronbayes/key_settings"].attrs["TITLE"] = "antigravity.Anything"


def of_class(file):
    crafted(file, "class")


def change(path, how):
    path.write_bytes((FOLDER / "evoked_format1.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        how(file)


@pytest.mark.parametrize(
    ("craft", "match"),
    [
        (crafted, "timezone"), (of_class, "class"), (imported, "antigravity.Anything"),
        (loop, "without end"), (many, "without end"), (bomb, "in one piece"),
        (text_bomb, "in one piece"), (elsewhere, "lies elsewhere"),
    ],
)  # fmt: skip
def test_crafted_files_of_the_first_format_are_refused(craft, match, tmp_path, capsys, monkeypatch):
    """What is read by another process is read here, to be quicker."""
    monkeypatch.setattr(format1, "_MANY", 500)
    change(tmp_path / "fit.h5", craft)
    before = set(sys.modules)
    with pytest.raises((ValueError, KeyError), match=match):
        format1._convert(tmp_path / "fit.h5")
    assert "executed" not in capsys.readouterr().out
    assert "antigravity" not in set(sys.modules) - before


def test_reading_the_first_format_comes_to_an_end(tmp_path, monkeypatch):
    path = tmp_path / "fit.h5"
    change(path, crafted)
    refused(path, "not a file that mne-invkit wrote: KeyError: 'timezone'")
    monkeypatch.setattr(format1, "_LONGEST", 0.01)
    refused(path, r"cannot be read in 0\.01 s")


def test_other_files_are_told(fitted, tmp_path):
    path = tmp_path / "fit.h5"
    h5io.write_hdf5(path, {"a": 1}, title="other")
    refused(path, "holds no result")
    write_plain(path, "inverse", {})
    refused(path, r"holds 'inverse', no fit of kronbayes: mne_invkit\.read_result")
    parts = fitted.pack()
    parts["learned"]["posterior"]["kind"] = "Popen"
    write_plain(path, "kronbayes", parts)
    refused(path, "holds other parts than expected")


def test_a_fit_is_read_as_what_it_is(fitted, tmp_path):
    fitted.save(tmp_path / "fit.h5")
    assert type(read_result(tmp_path / "fit.h5")) is KronBayesResult
