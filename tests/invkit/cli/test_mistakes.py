"""What a user may do wrong, and the sentence that tells how to mend it."""

import os
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest

from mne_invkit.cli import main
from mne_invkit.cli.files import check_file

DATA = ["{evoked}", "{forward}", "{cov}"]
OUT = ["--output", "out.h5"]

MISTAKES = [
    # the solver and its options
    ([*DATA, "--method", "magic"], "no solver 'magic'; installed are ['eloreta'"),
    ([*DATA, *OUT, "--set", "temporal"], "--set takes NAME=VALUE, got 'temporal'"),
    ([*DATA, *OUT, "--set", "=full"], "--set takes NAME=VALUE, got '=full'"),
    ([*DATA, *OUT, "--set", "speed=full"], "no option speed; it has buffer_size, depth"),
    ([*DATA, *OUT, "--set", "temporal=ar"], "temporal must be one of"),
    ([*DATA, *OUT, "--set", "loose=-1"], "loose must lie between"),
    ([*DATA, *OUT, "--set", "pick_ori=max"], "pick_ori must be"),
    ([*DATA, *OUT, "--set", "select=maybe"], "select takes yes or no, got 'maybe'"),
    ([*DATA, *OUT, "--set", "temporal=no"], "temporal takes a word, got 'no'"),
    ([*DATA, *OUT, "--set", "occam=on"], "occam takes a number, got 'on'"),
    ([*DATA, *OUT, "--set", "max_iter=2.5"], "max_iter takes a whole number, got '2.5'"),
    ([*DATA, *OUT, "--set", "max_iter=none"], "max_iter takes a whole number, got 'none'"),
    ([*DATA, *OUT, "--set", "occam=1", "--set", "occam=2"], "occam is set twice"),
    ([*DATA, *OUT, "--set", "occam=x", "--set", "tol=y"], "got 'x'. tol takes a number"),
    # where it goes
    ([*DATA, "--output", "stc.fif"], "must end in .h5 (any estimate), .stc"),
    ([*DATA, "--output", ".h5"], "must end in .h5"),
    ([*DATA, "--output", "nowhere/stc.h5"], "does not exist: make it first"),
    ([*DATA, *OUT, "--report", "report.pdf"], "must end in .html"),
    ([*DATA, *OUT, "--report", "no/report.html"], "does not exist: make it first"),
    ([*DATA, "--output", "a.stc", "--set", "pick_ori=vector"], ".stc file cannot hold vectors"),
    ([*DATA, "--output", "a.nii.gz"], "does not fit a surface source space"),
    (["{evoked}", "{mixed}", "--output", "a.stc"], "does not fit a mixed source space of 3 parts"),
    ([*DATA, *OUT, "--subjects-dir", "nowhere"], "no folder nowhere"),
    (
        ["{evoked}", "{forward}", *OUT, "--report", "a.html", "--subject", "none",
         "--subjects-dir", "."],
        "There is no folder none",
    ),
    # the files
    (["{evoked}", *OUT], "There is no forward solution: pass its file"),
    (["{evoked}", "{forward}", "{cov}", "{cov}", *OUT], "There are 4 files, too many"),
    (["{evoked}", "{forward}", "{cov}", "--template", *OUT], "too many (with --template)"),
    ([*DATA, "--spacing", "ico3", *OUT], "--spacing is that of the template"),
    (["nothing-ave.fif", "{forward}", *OUT], "There is no file nothing-ave.fif"),
    (["{evoked}", "nothing-fwd.fif", *OUT], "There is no file nothing-fwd.fif"),
    (["{forward}", "{evoked}", "{cov}", *OUT], "holds a forward solution, not averages, epochs"),
    (["{evoked}", "{cov}", "{forward}", *OUT], "holds a forward solution, not a covariance"),
    (["{evoked}", "{trans}", *OUT], "holds a transformation, not a forward solution"),
    (["{half_evoked}", "{forward}", *OUT], "half_evoked-ave.fif cannot be read: it is damaged"),
    (["{evoked}", "{half_forward}", *OUT], "half_forward-fwd.fif cannot be read: it is damaged"),
    (["{half_raw}", "{forward}", *OUT], "half_raw-raw.fif cannot be read: it is damaged"),
    (["{evoked}", "{hdf}", *OUT], "hdf-fwd.h5 is an HDF5 file, from which MNE may run code"),
    (["{circle}", "{forward}", *OUT], "circle-ave.fif cannot be read: it is damaged, its entries"),
    (["{zipped}", "{forward}", *OUT], "zipped-ave.fif.gz cannot be read: it is damaged"),
    (["{empty}", "{forward}", *OUT], "empty-ave.fif cannot be read: it is empty"),
    (["{text}", "{forward}", *OUT], "text.txt cannot be read"),
    (["{pipe}", "{forward}", *OUT], "is a pipe or a device"),
    (["{evoked}", "{pipe}", *OUT], "is a pipe or a device"),
    (["{evoked}", ".", *OUT], ". is a folder"),
    ([".", "{forward}", *OUT], ". cannot be read"),
    (["{nowhere}", "--template", *OUT], "have no position"),
    # conditions and the window
    ([*DATA, *OUT, "--condition", "smell"], "no condition 'smell': pass one of 'touch' (number 1)"),
    ([*DATA, *OUT, "--condition", "7"], "has no condition '7': pass one of"),
    ([*DATA, *OUT, "--condition", "0"], "is a standard error, which has no sources: pass one of"),
    ([*DATA, *OUT, "--condition", "sound", "--condition", "2"], "names the same average"),
    (["{errors}", "{forward}", *OUT], "holds no average, only standard errors"),
    (["{epochs}", "{forward}", *OUT, "--condition", "smell"], "pass one of 'touch'"),
    (["{raw}", "{forward}", *OUT, "--condition", "touch"], "without conditions"),
    ([*DATA, *OUT, "--tmin", "5"], "--tmin 5 --tmax 0.29) holds no data, which span 0 to 0.29 s"),
    ([*DATA, *OUT, "--tmin", "0.2", "--tmax", "0.1"], "holds no data"),
    ([*DATA, *OUT, "--tmin", "nan"], "holds no data"),
    (["{raw}", "{forward}", *OUT, "--tmin", "60"], "holds no data, which span 0 to 1.19 s"),
]  # fmt: skip


@pytest.mark.filterwarnings("default")  # of MNE, on damaged files
@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_end_in_one_line(shop, work, capsys, arguments, message):
    assert main(["solve", *(argument.format(**shop) for argument in arguments)]) == 1
    *warnings, error = capsys.readouterr().err.splitlines()
    assert error.startswith("mne-invkit: error:")
    assert message in error
    assert all(line.startswith("mne-invkit: warning:") for line in warnings)
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    "arguments", [["--tmin", "soon"], ["--spacing", "ico99"], ["--faster"], ["-v", "-q"]]
)
def test_what_no_option_takes(shop, work, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(["solve", shop["evoked"], shop["forward"], *arguments])
    assert stop.value.code == 2
    assert "usage: mne-invkit" in capsys.readouterr().err


def test_input_is_never_replaced(shop, work, capsys):
    """The content of a file does not depend on its ending."""
    data = Path(shutil.copy(shop["evoked"], work / "data.h5"))
    same = work / "link.h5"
    same.symlink_to(data)
    for output in (data, same):
        arguments = ["solve", str(data), shop["forward"], "--output", str(output), "--overwrite"]
        assert main(arguments) == 1
        assert "is one of the files to read" in capsys.readouterr().err
        assert data.read_bytes() == Path(shop["evoked"]).read_bytes()


def test_a_file_without_permission_is_named(shop, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    path = tmp_path / "a.fif"
    path.write_text("x")
    with pytest.raises(PermissionError, match=r"a\.fif may not be read: ask its owner"):
        check_file(path)


def test_channels_of_a_type_that_does_not_exist(shop, work, monkeypatch, capsys):
    evoked = mne.read_evokeds(shop["evoked"], condition=1, verbose="error")
    evoked.info["chs"][3]["kind"] = 1022383872  # as in a file of which bytes are swapped
    monkeypatch.setattr(mne, "read_evokeds", lambda path: [evoked])
    assert main(["solve", shop["evoked"], shop["forward"], "--output", "out.h5"]) == 1
    assert "evoked-ave.fif cannot be read: it is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["numbers of sources", "names of channels"])
def test_a_forward_solution_that_contradicts_itself(
    shop, work, forwards, monkeypatch, capsys, what
):
    forward = forwards["discrete"].copy()
    if what == "numbers of sources":
        forward["src"][0]["nuse"] += 1
    else:
        forward["sol"]["row_names"] = ["Fp99", *forward["sol"]["row_names"][1:]]
    monkeypatch.setattr(mne, "read_forward_solution", lambda path: forward)
    assert main(["solve", shop["evoked"], shop["forward"], "--output", "out.h5"]) == 1
    assert f"its {what} differ" in capsys.readouterr().err


def test_complex_values_are_refused_before_the_work(shop, work, capsys, monkeypatch):
    evoked = mne.read_evokeds(shop["evoked"], condition=1, verbose="error")
    evoked.data = evoked.data + 0j
    monkeypatch.setattr(mne, "read_evokeds", lambda path: [evoked])
    monkeypatch.setattr(mne, "read_forward_solution", pytest.fail)
    assert main(["solve", shop["evoked"], shop["forward"], "--output", "a.stc"]) == 1
    assert "cannot hold complex values" in capsys.readouterr().err


def test_conditions_whose_files_would_have_the_same_name(shop, work, capsys, monkeypatch):
    evokeds = mne.read_evokeds(shop["evoked"], verbose="error")[1:]
    evokeds[0].comment, evokeds[1].comment = "a b", "a/b"
    monkeypatch.setattr(mne, "read_evokeds", lambda path: evokeds)
    both = ["--condition", "0", "--condition", "1", "--output", "out.h5"]
    assert main(["solve", shop["evoked"], shop["forward"], *both]) == 1
    assert "the same name for files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [KeyError("x"), AssertionError(), np.linalg.LinAlgError("singular")]
)
def test_our_own_faults_say_so(shop, work, monkeypatch, capsys, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("mne_invkit.cli.solve._solve", fail)
    arguments = ["solve", shop["evoked"], shop["forward"], "--output", "out.h5"]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{type(error).__name__}" in line
    assert "fault of ours or of a plugin: run again with -vv" in line
    with pytest.raises(type(error)):
        main([*arguments, "-vv"])


def test_too_little_memory(shop, work, monkeypatch, capsys):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr("mne_invkit.cli.solve._solve", fail)
    assert main(["solve", shop["evoked"], shop["forward"], "--output", "out.h5"]) == 1
    assert "not enough memory: pass a shorter window" in capsys.readouterr().err


def test_interrupt(shop, work, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(mne, "read_evokeds", interrupted)
    assert main(["solve", shop["evoked"], shop["forward"], "--output", "out.h5"]) == 130
    assert "Interrupted" in capsys.readouterr().err
