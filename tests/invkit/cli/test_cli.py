"""The command line: what a user types, gets and is told."""

import os
import re
import subprocess
import sys

import mne
import numpy as np
import pytest

from mne_invkit.cli import main
from mne_invkit.cli.demo import HAND_AREA
from mne_invkit.inverse.stc import STC_CLASSES
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.solvers.registry import get_solver

# %% demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder that the demo wrote and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        code = main(["demo", "--output", str(folder)])
    assert code == 0
    return folder, "\n".join(lines)


def test_demo_finds_the_hand_area(demo):
    _, text = demo
    peaks = re.findall(r"^ +(\w+) +at ([\d.]+) ms .* MNI \((.*)\) mm, left .*$", text, re.MULTILINE)
    assert [name for name, *_ in peaks] == ["eloreta", "kronbayes", "piunet"]
    for _, time, place in peaks:
        assert 28 < float(time) < 31
        position = np.array(place.split(","), float)
        assert np.linalg.norm(position - HAND_AREA) < 20


def test_demo_writes_report_pictures_and_estimates(demo):
    folder, text = demo
    assert str(folder / "report.html") in text
    report = (folder / "report.html").read_text(encoding="utf-8")
    for word in ("kronbayes", "eloreta", "piunet", "toeplitz", "Convergence", "spharapy"):
        assert word.lower() in report.lower()
    for method in ("kronbayes", "eloreta", "piunet"):
        stc = mne.read_source_estimate(folder / f"{method}-stc.h5")
        assert stc.subject == "fsaverage5"
        assert stc.shape == (4857, 369)
        assert (folder / f"{method}.png").read_bytes().startswith(b"\x89PNG")


def test_demo_does_not_overwrite_unasked(demo, capsys):
    folder, _ = demo
    before = (folder / "report.html").stat().st_mtime_ns
    assert main(["demo", "--output", str(folder)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (folder / "report.html").stat().st_mtime_ns == before


def test_demo_names_the_solvers_before_it_starts(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path / "new"), "--method", "magic"]) == 1
    assert "installed are ['eloreta', 'kronbayes'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


# %% solve


@pytest.fixture(scope="module")
def simulation(eeg_info, forwards):
    return simulate_evoked(
        forwards["surface"], eeg_info, sources=[300], snr_db=15, tmax=0.29, rng=0, verbose="error"
    )


@pytest.fixture
def files(simulation, forwards, tmp_path):
    """Paths of evoked (two conditions), forward solution and covariance."""
    paths = [str(tmp_path / f"s-{end}.fif") for end in ("ave", "fwd", "cov")]
    other = simulation.evoked.copy()
    other.data *= -2
    simulation.evoked.comment, other.comment = "touch", "sound"
    mne.write_evokeds(paths[0], [simulation.evoked, other], verbose="error")
    mne.write_forward_solution(paths[1], forwards["surface"], verbose="error")
    simulation.noise_cov.save(paths[2], verbose="error")
    return paths


def test_solve_writes_what_the_solver_returns(files, simulation, forwards, tmp_path, capsys):
    report = tmp_path / "report.html"
    arguments = ["--condition", "sound", "--tmin", "0.05", "--set", "temporal=identity"]
    assert main(["solve", *files, *arguments, "--report", str(report)]) == 0
    stc = mne.read_source_estimate(tmp_path / "s-kronbayes-stc.h5")
    evoked = simulation.evoked.copy().crop(0.05)
    evoked.data *= -2
    fit = get_solver("kronbayes").fit
    expected = fit(evoked, forwards["surface"], simulation.noise_cov, temporal="identity")
    np.testing.assert_allclose(stc.times, evoked.times, atol=1e-6)
    np.testing.assert_allclose(stc.data, expected.stc.data, atol=2e-3 * expected.stc.data.max())
    printed = capsys.readouterr().out
    assert f"explains {expected.explained_variance:.1f}%" in printed
    assert "identity" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["volume", "mixed"])
def test_solve_any_source_space_by_any_method(kind, files, forwards, tmp_path):
    mne.write_forward_solution(files[1], forwards[kind], overwrite=True, verbose="error")
    output = tmp_path / "out.h5"
    arguments = ["--method", "eloreta" if kind == "volume" else "kronbayes"]
    assert main(["solve", *files, *arguments, "--output", str(output)]) == 0
    stc = mne.read_source_estimate(output)
    assert type(stc) is STC_CLASSES[kind, False]
    assert len(stc.data) == forwards[kind]["nsource"]
    assert 0 < stc.data.max() < 1e-6  # A m


def test_existing_output_stays_without_overwrite(files, tmp_path, capsys):
    output = tmp_path / "s-eloreta-stc.h5"
    output.write_text("precious")
    assert main(["solve", *files, "--method", "eloreta"]) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert output.read_text() == "precious"
    assert main(["solve", *files, "--method", "eloreta", "--overwrite"]) == 0
    assert mne.read_source_estimate(output).shape[0] == 1216


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "magic"], "no solver 'magic'"),
        (["--condition", "smell"], "no condition 'smell', but ['touch', 'sound']"),
        (["--condition", "2"], "no condition '2'"),
        (["--set", "temporal"], "NAME=VALUE"),
        (["--set", "speed=full"], "no option speed; it has buffer_size, depth"),
        (["--set", "temporal=ar"], "temporal must be one of"),
        (["--set", "loose=-1"], "loose must lie between"),
        (["--set", "pick_ori=max"], "pick_ori must be"),
        (["--tmin", "5"], "tmin"),
        (["--output", "stc.fif"], "must end in .h5"),
        (["--output", "nowhere/stc.h5"], "does not exist: make it first"),
        (["--report", "report.pdf"], "must end in .html"),
    ],
)
def test_mistakes_end_in_one_line(files, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["solve", *files, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("mne-invkit: error:")
    assert "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_unwritable_folder_is_told_before_the_work(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    monkeypatch.setattr(mne, "read_forward_solution", pytest.fail)
    assert main(["solve", *files]) == 1
    assert f"{tmp_path / 's-kronbayes-stc.h5'} cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("position", [0, 1, 2])
def test_missing_or_wrong_files_are_named(files, tmp_path, capsys, position):
    wrong = tmp_path / "wrong.fif"
    files[position] = str(wrong)
    assert main(["solve", *files]) == 1
    assert f"no file {wrong}" in capsys.readouterr().err
    wrong.write_text("not a fif file")
    assert main(["solve", *files]) == 1
    assert f"{wrong} cannot be read" in capsys.readouterr().err


def test_debugging_shows_the_traceback(files):
    with pytest.raises(ValueError, match="no solver"):
        main(["solve", *files, "--method", "magic", "-vv"])


def test_interrupt(files, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(mne, "read_evokeds", interrupted)
    assert main(["solve", *files]) == 130
    assert "Interrupted" in capsys.readouterr().err


# %% the rest


def test_help_loads_nothing_heavy():
    """Who asks for help does not wait for MNE."""
    code = (
        "import sys\nfrom mne_invkit.cli import main\ntry:\n    main(['--help'])\n"
        "finally:\n    print([m for m in ('mne', 'numpy', 'torch') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("usage: mne-invkit")
    assert run.stdout.strip().endswith("[]")


def test_sys_info(capsys):
    assert main(["sys-info"]) == 0
    text = capsys.readouterr().out
    for word in ("mne-invkit", "solver kronbayes", "solver eloreta", "3-D rendering", "scipy"):
        assert word in text


@pytest.mark.parametrize("arguments", [[], ["fly"], ["solve"]])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: mne-invkit" in capsys.readouterr().err
