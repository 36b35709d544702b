"""Reports hold every solver, every section, and nothing unescaped."""

import base64
import io
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from mne_invkit.heads.regions import region_name
from mne_invkit.heads.template import SUBJECT, template_forward, template_trans
from mne_invkit.report import _add_figures, make_report
from mne_invkit.viz import render
from mne_invkit.viz.entries import peak_table


@pytest.fixture(autouse=True)
def _no_rendering(monkeypatch):
    monkeypatch.setattr(render, "can_render", lambda: False)


@pytest.fixture
def light(monkeypatch):
    """Draw nothing: for tests of what stands in a report."""

    def draw(*args, **kwargs):
        return plt.figure(figsize=(0.1, 0.1))

    for name in ("plot_estimate", "plot_sensor_fit", "plot_time_courses"):
        monkeypatch.setattr(f"mne_invkit.report.{name}", draw)
    monkeypatch.setattr("mne_invkit.report.plot_response", lambda *args: [draw()])


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


def sections(report):
    """Names of the parts of a report."""
    return [(part.section, part.name) for part in report._content]


def test_report_of_two_solvers(surface_forward, tmp_path, light):
    evoked = make_evoked(surface_forward)
    results = {
        "Champagne": make_result(surface_forward, evoked, 1),
        "A<B": make_result(surface_forward, evoked, 3),
    }
    report = make_report(
        results, evoked, surface_forward, times=[0.01, 0.03], title="Two & more",
        noise_cov=mne.make_ad_hoc_cov(evoked.info, verbose=False),
    )  # fmt: skip
    assert not plt.get_fignums()
    drawn = {e.name: e.html.count("<img") for e in report._content if "estimate" in e.name}
    assert drawn == {"Champagne: estimate": 2, "A<B: estimate": 2}  # at the same instants
    found = sections(report)
    for part in ("Response", "Noise covariance"):
        assert ("Data", part) in found
    for name in results:
        for part in ("estimate", "time courses", "fit to the sensors", "convergence", "settings"):
            assert (name, f"{name}: {part}") in found
    assert found[0][0] == "Summary"
    assert found[-1] == ("Provenance", "Versions")
    text = saved(report, tmp_path)
    assert "&lt;full&gt;" in text
    assert "<full>" not in text
    assert "A<B" not in text
    assert "array of shape (100,)" in text
    assert "my_solver 1.2" in text


@pytest.mark.parametrize("diagonal", [False, True])
def test_covariance_of_more_channels_than_the_data(surface_forward, light, monkeypatch, diagonal):
    drawn = []

    def plot_cov(cov, *args, **kwargs):
        drawn.append(cov)
        return [plt.figure(figsize=(0.1, 0.1))]

    monkeypatch.setattr(mne.viz, "plot_cov", plot_cov)
    evoked = make_evoked(surface_forward)
    names = ["MEG 0113", *evoked.ch_names[::-1], "MEG 0112"]
    data = np.arange(1.0, 35) if diagonal else np.diag(np.arange(1.0, 35))
    noise_cov = mne.Covariance(data, names, [], [], 20)
    make_report(
        make_result(surface_forward, evoked, 2), evoked, surface_forward, noise_cov=noise_cov
    )
    assert sorted(drawn[0].ch_names) == sorted(evoked.ch_names)
    variances = dict(zip(drawn[0].ch_names, np.diag(drawn[0].data), strict=True))
    assert all(variances[name] == 1 + names.index(name) for name in evoked.ch_names)


def test_table_opens_on_the_response(surface_forward, light):
    """Not at the maximum of the estimate, which may be in the artifact."""
    evoked = make_evoked(surface_forward)
    evoked.shift_time(-0.01)
    evoked.data[:, 1] *= 20  # the artifact, at 0 ms
    evoked.data[:, 3] *= 10  # the response, at 20 ms
    result = make_result(surface_forward, evoked, 3, residual=evoked)
    result.stc = mne.SourceEstimate(
        result.stc.data, result.stc.vertices, -0.01, 0.01, subject=SUBJECT
    )
    result.stc.data[900, 1] = 9e-8
    hand = {"hand": (-42, -25, 55)}
    table = peak_table({"one": result}, evoked, surface_forward, landmarks=hand)
    (words,) = table.to_dict("records")
    position = 1e3 * mne.transforms.apply_trans(
        template_trans(),
        surface_forward["src"][0]["rr"][surface_forward["src"][0]["vertno"][10]],
    )
    distance = np.linalg.norm(position - hand["hand"])
    x, y, z = np.rint(position).astype(int)
    assert words == {
        "Time": "20 ms",
        "Amplitude": "30 nA m",
        "Position": f"MNI ({x}, {y}, {z}) mm",
        "Region": region_name(position, "lh"),
        "From the hand": f"{distance:.0f} mm",
        "Explained, whitened": "81.2 %",
        "Explained, raw EEG": "0.0 %",
    }
    report = make_report({"one": result}, evoked, surface_forward, landmarks=hand)
    html = next(part.html for part in report._content if part.name == "Strongest sources")
    for name, word in words.items():
        assert f">{name}</th>" in html
        assert f"<td>{word}</td>" in html
    later = peak_table({"one": result}, evoked, surface_forward, time=0.0)
    assert later.loc["one", "Time"] == "0 ms"
    assert later.loc["one", "Amplitude"] == "90 nA m"


def test_volume_in_a_unit_of_its_own(volume_forward, tmp_path):
    """Values of dSPM are not drawn as dipole moments, and a cost is not needed."""
    evoked = make_evoked(volume_forward)
    result = make_result(volume_forward, evoked, 2, cost=None, unit="dSPM", code="mne 1.13")
    result.stc *= 1e9
    report = make_report({"dSPM": result}, evoked, volume_forward, times=[0.02])
    text = saved(report, tmp_path)
    assert "<td>30 dSPM</td>" in text
    assert "nA m" not in text
    assert "mne 1.13" in text
    assert ("dSPM", "dSPM: convergence") not in sections(report)


def test_figures_of_the_result_and_files_of_the_pictures(surface_forward, tmp_path, light):
    evoked = make_evoked(surface_forward)
    own = make_result(surface_forward, evoked, 2, figures=lambda: {"noise": plt.figure()})
    report = make_report({"my own": own}, evoked, surface_forward, times=[0.0], folder=tmp_path)
    assert ("my own", "my own: noise") in sections(report)
    (estimate,) = (e.html for e in report._content if e.name == "my own: estimate")
    assert estimate.count("<img") == 1
    assert not plt.get_fignums()
    assert (tmp_path / "my-own.png").read_bytes().startswith(b"\x89PNG")


def test_zero_estimate(surface_forward, tmp_path, light):
    evoked = make_evoked(surface_forward)
    result = make_result(surface_forward, evoked, 2)
    result.stc *= 0
    text = saved(make_report({"Nothing": result}, evoked, surface_forward), tmp_path)
    assert "no source is active" in text


def test_little_explained_says_to_crop(surface_forward, tmp_path, light):
    evoked = make_evoked(surface_forward)
    little = make_result(surface_forward, evoked, 2, explained_variance=0.8)
    text = saved(make_report(little, evoked, surface_forward), tmp_path)
    assert "my_solver explains only 0.8 % of the whitened data" in text
    assert "evoked.crop(tmin, tmax)" in text


@pytest.mark.parametrize("width", [11.4, 3.8 * 3, 7.337])
def test_pictures_are_not_sheared(width):
    """A vertical line stays one, whatever the width of the figure."""
    figure = plt.figure(figsize=(width, 2))
    figure.add_artist(Line2D([0.5, 0.5], [0, 1], color="black", lw=6))
    report = mne.Report(verbose=False)
    _add_figures(report, [figure], "line", {})
    (code,) = re.findall(r"base64,\s*([A-Za-z0-9+/=\s]+?)\"", report._content[0].html)
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(code))).convert("L"), int)
    np.testing.assert_array_equal(picture[5].argmin(), picture[-5].argmin())
    assert abs(picture[5].argmin() - 50 * width) < 5


# %% What may be passed


def test_two_conditions(surface_forward, light):
    """A section a solver, and in it the conditions by their names."""
    evokeds = [make_evoked(surface_forward), make_evoked(surface_forward)]
    for evoked, name in zip(evokeds, ("left", "right"), strict=True):
        evoked.comment = name
    one, two = (make_result(surface_forward, evokeds[0], k) for k in (1, 2))
    both = make_result(
        surface_forward, None, 1, stc=[one.stc, two.stc], residual=evokeds, cost=None
    )
    report = make_report({"both": both}, evokeds, surface_forward, times=[0.02])
    found = sections(report)
    assert [name for section, name in found if section == "both"] == [
        "both, left: estimate", "both, left: time courses", "both, left: fit to the sensors",
        "both, right: estimate", "both, right: time courses", "both, right: fit to the sensors",
        "both: settings",
    ]  # fmt: skip
    assert {("Data", "left"), ("Data", "right")} <= set(found)
    table = peak_table(both, evokeds, surface_forward, time=0.02)
    assert list(table.index) == ["my_solver, left", "my_solver, right"]
    assert list(table["Amplitude"]) == ["no source is active", "30 nA m"]


def test_epochs_are_averaged(surface_forward):
    evoked = make_evoked(surface_forward)
    data = evoked.data * np.array([1.0, 3.0, 2.0])[:, None, None]
    epochs = mne.EpochsArray(data, evoked.info, verbose=False)
    one = make_result(surface_forward, evoked, 2)
    stcs = [one.stc * k for k in (1, 2, 3)]
    many = make_result(surface_forward, evoked, 2, stc=stcs, residual=epochs)
    table = peak_table({"many": many}, epochs, surface_forward, time=0.02)
    assert list(table.index) == ["many, mean of 3 epochs"]
    assert list(table["Amplitude"]) == ["60 nA m"]
    assert list(table["Explained, raw EEG"]) == ["0.0 %"]


def test_continuous_data(surface_forward):
    evoked = make_evoked(surface_forward)
    raw = mne.io.RawArray(evoked.data, evoked.info, verbose=False)
    result = make_result(surface_forward, evoked, 2, residual=raw)
    report = make_report({"raw": result}, raw, surface_forward, times=[0.02])
    assert ("raw", "raw: fit to the sensors") in sections(report)


def test_plain_estimates(surface_forward, light):
    evoked = make_evoked(surface_forward)
    stc = make_result(surface_forward, evoked, 2).stc
    found = sections(make_report(stc, evoked, surface_forward, times=[0.02]))
    assert ("Estimate", "Estimate: estimate") in found
    assert ("Estimate", "Estimate: fit to the sensors") not in found
    table = peak_table({"mne": stc * 1e9}, evoked, surface_forward, time=0.02, unit="dSPM")
    assert list(table["Amplitude"]) == ["30 dSPM"]
    table = peak_table([stc, stc], [evoked, evoked], surface_forward, time=0.02)
    assert list(table.index) == ["Estimate, condition 1", "Estimate, condition 2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(results={}), "at least one"),
        (dict(results=[1, 2]), "2 estimates, and evoked 1 conditions: pass as evoked"),
        (dict(results={"a": 3}), "a cannot be reported: stc must be a source estimate"),
        (dict(evoked="data"), "Evoked, a list of Evokeds, Epochs or Raw.*got str"),
        (dict(forward=None), "forward must be an mne.Forward"),
        (dict(times=[0.02, 0.5]), "time=0.5 s lies outside of stc, which spans 0 to 0.04 s"),
    ],
)
def test_what_does_not_fit_is_told_before_any_work(surface_forward, monkeypatch, change, message):
    monkeypatch.setattr("mne_invkit.report.plot_estimate", pytest.fail)
    evoked = make_evoked(surface_forward)
    given = dict(
        results=make_result(surface_forward, evoked, 2), evoked=evoked, forward=surface_forward
    )
    with pytest.raises((TypeError, ValueError), match=message):
        make_report(**given | change)


def test_data_of_another_length_and_implausible_amplitudes_are_told(surface_forward):
    evoked = make_evoked(surface_forward)
    result = make_result(surface_forward, evoked, 2)
    with pytest.raises(ValueError, match="made from 5 times, and evoked has 3: pass the data"):
        make_report(result, evoked.copy().crop(0, 0.02), surface_forward)
    with pytest.raises(ValueError, match='unit="dSPM"'):
        make_report(result.stc * 1e9, evoked, surface_forward)
    late = mne.SourceEstimate(result.stc.data, result.stc.vertices, 1.0, 0.01, subject=SUBJECT)
    with pytest.raises(ValueError, match=r"spans 1 to 1\.04 s and evoked 0 to 0\.04 s"):
        make_report(late, evoked, surface_forward)
    with pytest.raises(TypeError, match="name them"):
        make_report([result, result], [evoked, evoked], surface_forward)
