"""The README's examples run, one after the other, as a reader would type them."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import pytest

from mne_invkit.simulation.evoked import simulate_evoked

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_examples_run(eeg_info, forwards, tmp_path, monkeypatch, capsys):
    pytest.importorskip("ot")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("lightning_fabric")
    monkeypatch.chdir(tmp_path)
    forward = forwards["surface"]
    sim = simulate_evoked(forward, eeg_info, sources=1, tmax=0.3, rng=0, verbose="error")
    sim.evoked.comment = "touch"
    mne.write_evokeds("sub-01-ave.fif", sim.evoked, verbose="error")
    mne.write_forward_solution("sub-01-fwd.fif", forward, verbose="error")
    sim.noise_cov.save("sub-01-cov.fif", verbose="error")
    names = {}
    for block in blocks("python"):
        exec(block, names)
    plt.close("all")
    assert len(blocks("python")) == 6
    assert 0.25 <= names["factor"] <= 4
    assert names["vectors"].data.shape[1] == 3
    assert len(names["found"].history) == 2
    assert names["stc"].shape[0] == names["forward"]["nsource"]
    assert "normalized_emd" in capsys.readouterr().out
    assert (tmp_path / "sources.png").stat().st_size > 10_000


def test_quick_start_has_two_commands():
    section = re.search(r"^## Quick start\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)[1]
    demo, tests = blocks("bash", section)
    assert demo.strip().endswith("mne-invkit demo")
    assert tests.strip().endswith("pytest -n 2 --dist loadfile")
    assert all(len(block.strip().splitlines()) == 1 for block in (demo, tests))


def test_pictures_are_there():
    for path in re.findall(r"!\[[^\]]*\]\((.*?)\)", README):
        assert (Path(__file__).parents[1] / path).is_file()


def test_contributing_names_every_file():
    """The picture of the house shows each of its files."""
    root = Path(__file__).parents[1]
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    packages = ("mne_invkit", "mne_kronbayes", "mne_piunet", "subdistill")
    names = {path.name for package in packages for path in (root / package).rglob("*.py")}
    assert len(names) > 70
    assert not [name for name in names if name not in text and name != "__init__.py"]
