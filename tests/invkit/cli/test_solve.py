"""The command ``solve``: what it writes is what the solver returns."""

import os
import shutil

import mne
import numpy as np
import pytest

from mne_invkit import read_result
from mne_invkit.cli import main
from mne_invkit.heads.template import template_forward
from mne_invkit.inverse.stc import STC_CLASSES
from mne_invkit.solvers.registry import Solver, get_solver

FAST = ["--method", "eloreta"]


@pytest.fixture
def solve(shop, work):
    """Run ``solve`` on files of the shop, and return the exit code."""

    def solve(*arguments):
        return main(["solve", *(argument.format(**shop) for argument in arguments)])

    return solve


def same(stc, expected):
    """Compare with the precision of data in files."""
    np.testing.assert_allclose(stc.times, expected.times, atol=1e-6)
    np.testing.assert_allclose(stc.data, expected.data, atol=2e-3 * np.abs(expected.data).max())


def test_averages(solve, shop, work, simulation, forwards, capsys):
    arguments = ["--condition", "sound", "--tmin", "0.05", "--set", "temporal=identity"]
    files = ["{evoked}", "{forward}", "{cov}", "--report", "report.html", "--output", "out.h5"]
    assert solve(*files, *arguments) == 0
    evoked = simulation.evoked.copy().crop(0.05)
    evoked.data *= -2
    fit = get_solver("kronbayes").fit
    expected = fit(evoked, forwards["surface"], simulation.noise_cov, temporal="identity")
    same(mne.read_source_estimate(work / "out.h5"), expected.stc)
    printed = capsys.readouterr().out
    assert f"explains {expected.explained_variance:.1f}%" in printed
    assert "Estimate in A m: out.h5" in printed
    assert "identity" in (work / "report.html").read_text(encoding="utf-8")


def test_the_whole_result(solve, work, capsys):
    files = ["{evoked}", "{forward}", "{cov}", *FAST, "--output", "out.h5", "--result"]
    assert solve(*files, "out.h5") == 1
    assert "another file than that of the estimate" in capsys.readouterr().err
    (work / "sub").mkdir()
    assert solve(*files, "sub/../out.h5") == 1
    both = ["--condition", "touch", "--condition", "sound", "--tmax", "0.1"]
    assert solve(*files, "out-sound.h5", *both) == 1
    assert capsys.readouterr().err.count("another file than that of the estimate") == 2
    assert not list(work.glob("*.h5"))
    assert solve(*files, "all.h5") == 0
    result = read_result(work / "all.h5")
    same(mne.read_source_estimate(work / "out.h5"), result.stc)
    assert solve(*files, "all.h5", "--output", "other.h5") == 1
    assert "all.h5 exists: pass --overwrite" in capsys.readouterr().err


def test_the_first_average_and_not_a_standard_error_is_the_default(solve, work, simulation):
    assert solve("{evoked}", "{forward}", "{cov}", *FAST, "--output", "a.h5") == 0
    assert (
        solve("{evoked}", "{forward}", "{cov}", *FAST, "--output", "b.h5", "--condition", "1") == 0
    )
    a, b = (mne.read_source_estimate(work / name) for name in ("a.h5", "b.h5"))
    np.testing.assert_array_equal(a.data, b.data)


def test_the_default_output_lies_beside_the_data(shop, tmp_path, solve):
    data = shutil.copy(shop["evoked"], tmp_path / "sub-01_ave.fif")
    assert solve(str(data), "{forward}", *FAST) == 0
    assert mne.read_source_estimate(tmp_path / "sub-01-eloreta-stc.h5").shape == (1216, 30)


def test_several_conditions_are_solved_together_and_written_one_by_one(
    solve, work, simulation, forwards
):
    both = ["--condition", "touch", "--condition", "sound", "--output", "out-stc.h5"]
    assert solve("{evoked}", "{forward}", "{cov}", *both, "--set", "temporal=identity") == 0
    other = simulation.evoked.copy()
    other.data *= -2
    expected = get_solver("kronbayes").fit(
        [simulation.evoked, other], forwards["surface"], simulation.noise_cov, temporal="identity"
    )
    for name, stc in zip(("touch", "sound"), expected.stc, strict=True):
        same(mne.read_source_estimate(work / f"out-{name}-stc.h5"), stc)


def test_epochs(solve, work, simulation, forwards):
    arguments = [*FAST, "--tmax", "0.1", "--condition", "touch", "--output", "out.stc"]
    assert solve("{epochs}", "{forward}", "{cov}", *arguments) == 0
    epochs = simulation.epochs.copy().crop(None, 0.1)
    expected = get_solver("eloreta").fit(epochs, forwards["surface"], simulation.noise_cov).stc
    assert len(list(work.iterdir())) == 8
    for k, stc in enumerate(expected):
        same(mne.read_source_estimate(work / f"out-epoch{k}"), stc)


def test_raw_and_files_between_options(solve, work, shop):
    arguments = ["{raw}", "--tmin", "0.2", "{forward}", "--tmax", "0.4", "{cov}", *FAST]
    assert solve(*arguments, "--output", "out.h5") == 0
    stc = mne.read_source_estimate(work / "out.h5")
    assert stc.shape == (1216, 21)


def test_other_formats_of_continuous_data(solve, work, shop, monkeypatch):
    raw = mne.io.read_raw_fif(shop["raw"], verbose="error")
    (work / "recording.edf").write_text("as if")
    monkeypatch.setattr(mne.io, "read_raw", lambda path: raw)
    assert solve("recording.edf", "{forward}", "{cov}", *FAST, "--tmax", "0.1") == 0
    assert mne.read_source_estimate(work / "recording-eloreta-stc.h5").shape == (1216, 11)


def test_the_head_without_an_mri(solve, work, simulation):
    arguments = ["{evoked}", "{cov}", "--template", "--spacing", "ico3", *FAST]
    assert solve(*arguments, "--output", "out.h5") == 0
    forward = template_forward(simulation.evoked.info, spacing="ico3")
    expected = get_solver("eloreta").fit(simulation.evoked, forward, simulation.noise_cov).stc
    stc = mne.read_source_estimate(work / "out.h5")
    same(stc, expected)
    assert stc.subject == "fsaverage5"


def test_noise_covariance_is_optional(solve, work, simulation, forwards):
    assert solve("{evoked}", "{forward}", *FAST, "--output", "out.h5") == 0
    expected = get_solver("eloreta").fit(simulation.evoked, forwards["surface"]).stc
    same(mne.read_source_estimate(work / "out.h5"), expected)


def test_mixed_source_space(solve, work, forwards):
    assert solve("{evoked}", "{mixed}", "{cov}", *FAST, "--output", "out.h5") == 0
    stc = mne.read_source_estimate(work / "out.h5")
    assert type(stc) is STC_CLASSES["mixed", False]
    assert len(stc.data) == forwards["mixed"]["nsource"]


def test_vectors(solve, work):
    arguments = ["{evoked}", "{forward}", *FAST, "--set", "pick_ori=vector"]
    assert solve(*arguments, "--output", "out.h5") == 0
    assert mne.read_source_estimate(work / "out.h5").data.shape == (1216, 3, 30)


def test_existing_output_stays_without_overwrite(solve, work, capsys):
    output = work / "out.h5"
    output.write_text("precious")
    arguments = ["{evoked}", "{forward}", *FAST, "--output", "out.h5"]
    assert solve(*arguments) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert output.read_text() == "precious"
    assert solve(*arguments, "--overwrite") == 0
    assert mne.read_source_estimate(output).shape[0] == 1216


def test_one_of_many_files_exists(solve, work, capsys):
    (work / "out-epoch3.h5").write_text("precious")
    assert solve("{epochs}", "{forward}", *FAST, "--output", "out.h5") == 1
    assert "out-epoch3.h5 exists" in capsys.readouterr().err
    assert len(list(work.iterdir())) == 1


@pytest.mark.parametrize("option", ["--output", "--report"])
def test_whether_output_can_be_written_is_checked_before_anything_is_read(
    solve, work, monkeypatch, capsys, option
):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    monkeypatch.setattr(mne, "what", pytest.fail)
    name = "out.h5" if option == "--output" else "out.html"
    assert solve("{evoked}", "{forward}", option, name) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_options_are_checked_before_anything_is_read(solve, work, monkeypatch, capsys):
    monkeypatch.setattr(mne, "what", pytest.fail)
    assert solve("{evoked}", "{forward}", "--set", "temporal=bogus", "--output", "out.h5") == 1
    assert "temporal must be one of" in capsys.readouterr().err


def test_a_solver_that_lacks_its_library(solve, work, monkeypatch, capsys):
    solver = Solver(
        "slow", fit=lambda inst, forward, noise_cov: None, description="", needs=("nix",)
    )
    monkeypatch.setattr("mne_invkit.solvers.registry.find_solvers", lambda: {"slow": solver})
    assert solve("{evoked}", "{forward}", "--method", "slow", "--output", "out.h5") == 1
    assert "slow needs nix: install" in capsys.readouterr().err


def test_a_solver_that_needs_a_covariance(solve, work, monkeypatch, capsys):
    solver = Solver("strict", fit=lambda inst, forward, noise_cov: None, description="")
    monkeypatch.setattr("mne_invkit.solvers.registry.find_solvers", lambda: {"strict": solver})
    assert solve("{evoked}", "{forward}", "--method", "strict", "--output", "out.h5") == 1
    assert "strict needs a noise covariance" in capsys.readouterr().err
