"""Reports hold every solver, every section, and nothing unescaped."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.heads.regions import region_name
from mne_invkit.heads.template import SUBJECT, template_forward, template_trans
from mne_invkit.report import make_report
from mne_invkit.viz import render


@pytest.fixture(autouse=True)
def _no_rendering(monkeypatch):
    monkeypatch.setattr(render, "can_render", lambda: False)


def make_forward(src):
    montage = mne.channels.make_standard_montage("easycap-M1")
    info = mne.create_info(montage.ch_names[:32], 100.0, "eeg").set_montage(montage)
    return template_forward(info, src, spacing="ico3", pos=20.0)


@pytest.fixture(scope="module")
def surface_forward():
    return make_forward("surface")


@pytest.fixture(scope="module")
def volume_forward():
    return make_forward("volume")


def make_evoked(forward):
    info = mne.create_info(forward.ch_names, 100.0, "eeg")
    info.set_montage("easycap-M1", match_case=False)
    return mne.EvokedArray(np.random.default_rng(0).normal(size=(32, 5)) * 1e-6, info)


def make_result(forward, evoked, peak, **other):
    vertices = [s["vertno"] for s in forward["src"]]
    data = np.zeros((sum(map(len, vertices)), 5))
    data[10, peak] = 3e-8
    kind = mne.SourceEstimate if len(vertices) == 2 else mne.VolSourceEstimate
    result = {
        "stc": kind(data, vertices, 0.0, 0.01, subject=SUBJECT),
        "residual": evoked,
        "explained_variance": 81.25,
        "settings": {"noise": "<full>", "alpha": 0.05, "weights": np.ones(100)},
        "cost": np.array([3.0, 2.0, 1.5]),
        "unit": "A m",
        "code": "my_solver 1.2",
        "figures": dict,
    }
    return SimpleNamespace(**{**result, **other})


def saved(report, tmp_path):
    path = tmp_path / "report.html"
    report.save(path, open_browser=False)
    return path.read_text(encoding="utf-8")


def test_report_of_two_solvers(surface_forward, tmp_path):
    evoked = make_evoked(surface_forward)
    results = {
        "Champagne": make_result(surface_forward, evoked, 1),
        "A<B": make_result(surface_forward, evoked, 3),
    }
    report = make_report(results, evoked, surface_forward, title="Two & more")
    assert not plt.get_fignums()
    drawn = {e.name: e.html.count("<img") for e in report._content if "estimate" in e.name}
    assert drawn == {"Champagne: estimate": 2, "A<B: estimate": 2}  # at the same instants
    text = saved(report, tmp_path)
    for name in ("Champagne", "A&lt;B"):
        for part in ("figures and settings", "estimate", "convergence", "fit to the sensors"):
            assert f"{name}: {part}" in text
    assert text.index("Summary") < text.index("Champagne: estimate")
    assert "Versions" in text
    assert "&lt;full&gt;" in text
    assert "<full>" not in text
    assert "A<B" not in text
    assert "array of shape (100,)" in text
    assert "81.2 %" in text
    assert "my_solver 1.2" in text
    assert "30 nA m at 10 ms" in text
    assert "30 nA m at 30 ms" in text
    position = (
        1e3
        * mne.transforms.apply_trans(template_trans(), surface_forward["src"][0]["rr"])[
            surface_forward["src"][0]["vertno"][10]
        ]
    )
    assert f"({position[0]:.0f}, {position[1]:.0f}, {position[2]:.0f}) mm" in text
    assert region_name(position) in text


def test_volume_in_a_unit_of_its_own(volume_forward, tmp_path):
    """Values of dSPM are not drawn as dipole moments, and a cost is not needed."""
    evoked = make_evoked(volume_forward)
    result = make_result(volume_forward, evoked, 2, cost=None, unit="dSPM", code="mne 1.13")
    result.stc *= 1e9
    text = saved(make_report({"dSPM": result}, evoked, volume_forward), tmp_path)
    assert "30 dSPM at 20 ms" in text
    assert "nA m" not in text
    assert "mne 1.13" in text
    assert "VolSourceEstimate" in text
    assert "dSPM: convergence" not in text


def test_figures_of_the_result_are_added(surface_forward, tmp_path):
    """And times that are given take the place of the peaks."""
    evoked = make_evoked(surface_forward)
    own = make_result(surface_forward, evoked, 2, figures=lambda: {"noise": plt.figure()})
    report = make_report({"Own": own}, evoked, surface_forward, times=[0.0])
    (estimate,) = (e.html for e in report._content if e.name == "Own: estimate")
    text = saved(report, tmp_path)
    assert "Own: noise" in text
    assert estimate.count("<img") == 1
    assert not plt.get_fignums()


def test_zero_estimate(surface_forward, tmp_path):
    evoked = make_evoked(surface_forward)
    result = make_result(surface_forward, evoked, 2)
    result.stc *= 0
    text = saved(make_report({"Nothing": result}, evoked, surface_forward), tmp_path)
    assert "no source is active" in text


def test_no_results(volume_forward):
    with pytest.raises(ValueError, match="at least one"):
        make_report({}, make_evoked(volume_forward), volume_forward)
