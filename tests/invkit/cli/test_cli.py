"""The command line: what a user types, gets and is told."""

import re
import subprocess
import sys
from importlib.metadata import version

import mne
import numpy as np
import pytest

from mne_invkit.cli import main
from mne_invkit.cli.demo import HAND_AREA

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
    line = r"^ +(\w+) +([\d.]+) ms, .* MNI \((.*)\) mm, left .* mm from the left hand area, .*$"
    peaks = re.findall(line, text, re.MULTILINE)
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


def test_demo_says_the_same_everywhere(demo):
    """Terminal and report give the same words, in which the report opens on the response."""
    folder, text = demo
    report = (folder / "report.html").read_text(encoding="utf-8")
    for method in ("kronbayes", "eloreta", "piunet"):
        (line,) = re.findall(rf"^ +{method} +(.*)$", text, re.MULTILINE)
        row = re.search(rf"<th[^>]*>{method}</th>(.*?)</tr>", report, re.DOTALL)
        cells = re.findall(r"<td>(.*?)</td>", row[1], re.DOTALL)
        assert len(cells) == 7
        assert cells[0].startswith("29.8 ms")
        for cell in cells:
            assert cell in line  # time, amplitude, place, region, distance, explained variances
    assert "cerebellum" not in text
    for section in ("Summary", "Data", "Noise covariance", "time courses", "settings", "Versions"):
        assert section in report


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


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mne-invkit {version('mne-invkit')}\n"


def test_sys_info(capsys):
    assert main(["sys-info"]) == 0
    text = capsys.readouterr().out
    for word in ("mne-invkit", "solver kronbayes", "solver eloreta", "3-D rendering", "scipy"):
        assert word in text


@pytest.mark.parametrize("arguments", [[], ["fly"], ["solve"], ["sys-info", "more"]])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: mne-invkit" in capsys.readouterr().err
