"""Pictures show the sources where they are, for every class of estimate."""

import logging
from types import SimpleNamespace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.heads.regions import MNI305_TO_MNI152
from mne_invkit.heads.template import (
    SUBJECT,
    template_subjects_dir,
)
from mne_invkit.viz.estimate import CMAP, color_limits, is_sparse, plot_estimate
from mne_invkit.viz.findings import drawn_unit
from mne_invkit.viz.render import can_render
from mne_invkit.viz.snapshot import estimate_to_nifti, take_snapshot


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(params=["pyvista", "matplotlib"])
def renderer(request):
    if request.param == "matplotlib":
        request.getfixturevalue("no_rendering")
    elif not can_render():
        pytest.skip("pyvista cannot draw off screen here")
    return request.param


def n_warm(fig, left, right):
    """Count red and orange pixels between two fractions of the width of a figure."""
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())[..., :3].astype(int)
    n = pixels.shape[1]
    red, green, blue = np.moveaxis(pixels[:, int(left * n) : int(right * n)], -1, 0)
    return int(((red - blue > 80) & (red > green)).sum())


LEFT, RIGHT = (0.0, 0.44), (0.45, 0.88)
MOTOR = np.array([-38, -25, 58.0])


@pytest.mark.parametrize("side", [-1, 1])
def test_surface_source_is_drawn_in_its_hemisphere(surface_src, renderer, side, make_stc):
    stc = make_stc(surface_src, MOTOR * [-side, 1, 1])
    fig = plot_estimate(stc, title="One source", views=["lateral"])
    here, there = (LEFT, RIGHT) if side < 0 else (RIGHT, LEFT)
    assert n_warm(fig, *here) > 50
    assert n_warm(fig, *there) == 0
    assert "One source\n10 ms, peak 20 nA m at" in fig.get_suptitle()
    assert plt.get_fignums() == [fig.number]


def test_ring_marks_the_peak(surface_src, no_rendering, make_stc):
    stc = make_stc(surface_src, MOTOR)
    fig = plot_estimate(stc, views=["lateral", "medial"])
    marked = [ax for ax in fig.axes if ax.lines]
    assert marked == [fig.axes[0]]  # left lateral; the source is hidden from the midline
    x, y = marked[0].lines[0].get_data()
    inflated, _ = mne.read_surface(template_subjects_dir() / SUBJECT / "surf" / "lh.inflated")
    vertex = take_snapshot(stc).peak().vertex
    np.testing.assert_allclose([x[0], y[0]], inflated[vertex, 1:] * [-1, 1], atol=1e-6)


def test_ventral_view_is_seen_from_below(surface_src, no_rendering, make_stc):
    stc = make_stc(surface_src, [-45, -40, -20])
    fig = plot_estimate(stc, views=["ventral"])
    assert n_warm(fig, *RIGHT) > 50
    assert n_warm(fig, *LEFT) == 0


def test_weak_source_of_a_sparse_estimate_is_visible(
    surface_src, no_rendering, make_stc, keep_active
):
    strong, weak = make_stc(surface_src, MOTOR), make_stc(surface_src, MOTOR * [-1, 1, 1])
    stc = strong + weak * 0.15
    fig = plot_estimate(keep_active(stc), views=["lateral"])
    assert n_warm(fig, *LEFT) > 50
    assert n_warm(fig, *RIGHT) > 50


def test_dense_noise_does_not_hide_the_source(surface_src, no_rendering, make_stc):
    stc = make_stc(surface_src, MOTOR)
    stc.data += 1e-9 * np.abs(np.random.default_rng(0).normal(size=stc.data.shape))
    fig = plot_estimate(stc, time=0.01, views=["lateral"])
    assert n_warm(fig, *LEFT) > 50
    assert n_warm(fig, *RIGHT) < 0.05 * n_warm(fig, *LEFT)


@pytest.mark.parametrize(
    ("kind", "vector"), [("surface", True), ("volume", False), ("mixed", True)]
)
def test_every_kind(kind, vector, surface_src, volume_src, no_rendering, make_stc):
    src = {"surface": surface_src, "volume": volume_src, "mixed": surface_src + volume_src}[kind]
    fig = plot_estimate(make_stc(src, MOTOR, vector), src, views=["lateral"])
    assert "10 ms, peak 20 nA m" in fig.get_suptitle()
    assert n_warm(fig, *LEFT) > 50


@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_zero_estimate_is_an_empty_brain(kind, surface_src, volume_src, no_rendering, make_stc):
    src = surface_src if kind == "surface" else volume_src
    fig = plot_estimate(make_stc(src, MOTOR) * 0, src)
    assert fig.get_suptitle() == "0 ms, no source is active"
    assert n_warm(fig, 0, 1) == 0


def test_estimate_without_active_vertices(no_rendering):
    empty = mne.SourceEstimate(
        np.zeros((0, 3)), [np.array([], int)] * 2, 0.0, 0.01, subject=SUBJECT
    )
    assert "no source is active" in plot_estimate(empty).get_suptitle()


def test_other_units_and_limits(surface_src, no_rendering, make_stc):
    stc = make_stc(surface_src, MOTOR) * 1e9  # peak 20
    options = {"unit": "dSPM", "views": ["lateral"]}
    fig = plot_estimate(stc, clim=(5.0, 30.0), **options)
    assert "peak 20 dSPM" in fig.get_suptitle()
    assert fig.axes[-1].get_ylim() == (5.0, 30.0)
    assert n_warm(plot_estimate(stc, clim=(25.0, 30.0), **options), 0, 0.88) == 0


def test_estimate_of_another_unit_is_not_drawn_in_nanoamperes(surface_src, no_rendering, make_stc):
    assert drawn_unit("A m") == (1e9, "nA m")
    assert drawn_unit("dSPM") == (1.0, "dSPM")
    stc = make_stc(surface_src, MOTOR) * 1e9  # peak 20
    with pytest.raises(ValueError, match=r'reaches 20, too much.*unit="dSPM"'):
        plot_estimate(stc)
    assert "peak 20 z" in plot_estimate(stc, unit="z", views=["lateral"]).get_suptitle()


def test_volume_with_rendering_leaves_global_state(volume_src, make_stc):
    if not can_render():
        pytest.skip("pyvista cannot draw off screen here")
    import pyvista

    before = pyvista.OFF_SCREEN, mne.viz.get_3d_backend()
    fig = plot_estimate(make_stc(volume_src, MOTOR), volume_src)
    assert (pyvista.OFF_SCREEN, mne.viz.get_3d_backend()) == before
    assert n_warm(fig, 0.6, 0.88) > 10  # the ball in the 3-D view


def test_volume_without_subject_is_not_drawn_in_a_foreign_brain(volume_src, no_rendering, make_stc):
    src = volume_src.copy()
    del src[0]["subject_his_id"]
    stc = make_stc(src, MOTOR)
    stc.subject = None
    with pytest.warns(RuntimeWarning, match="MRI of the subject is not known.*subjects_dir"):
        fig = plot_estimate(stc, src)
    assert n_warm(fig, 0, 0.88) > 20
    assert "at MRI (" in fig.get_suptitle()
    assert fig.get_suptitle().endswith("no brain is drawn: the MRI is not known")
    (ax,) = [ax for ax in fig.axes if ax.child_axes]
    planes = [panel.lines[0].get_xydata()[0] for panel in ax.child_axes]
    x, y, z = take_snapshot(stc, src).peak().position
    np.testing.assert_allclose(planes, [[y, z], [x, z], [x, y]])


def test_glass_brain_is_that_of_mni_space(volume_src, no_rendering, make_stc):
    """The ring is where the source is, in MNI152."""
    stc = make_stc(volume_src, MOTOR)
    fig = plot_estimate(stc, volume_src)
    peak = take_snapshot(stc, volume_src).peak()
    x, y, z = mne.transforms.apply_trans(MNI305_TO_MNI152, peak.mni)
    rings = [ax.collections[-1] for ax in fig.axes if ax.collections and not ax.images[1:]]
    drawn = [ring.get_offsets()[0] for ring in rings if len(ring.get_offsets()) == 1]
    assert any(np.allclose(at, [x, z], atol=0.01) for at in drawn)
    assert any(np.allclose(at, [x, y], atol=0.01) for at in drawn)
    assert "at MNI (" in fig.get_suptitle()


# %% What all pictures share


def test_ring_at_the_edge_is_not_clipped(surface_src, no_rendering, make_stc):
    fig = plot_estimate(make_stc(surface_src, [-8, 66, 0]), views=["medial"])
    rings = fig.axes[0].lines
    assert len(rings) == 2
    assert not any(ring.get_clip_on() for ring in rings)


def test_dark_style(surface_src, renderer, make_stc):
    with plt.style.context("dark_background"):
        fig = plot_estimate(make_stc(surface_src, MOTOR), views=["lateral"])
        fig.canvas.draw()
        pixels = np.asarray(fig.canvas.buffer_rgba())[..., :3]
    words = pixels[: len(pixels) // 5]
    assert words.max() > 200  # white on
    assert np.median(words) == 0  # black
    assert (pixels[len(pixels) // 2, :3] == 0).all()


def test_every_bar_has_a_unit_and_hemispheres_their_names(surface_src, no_rendering, make_stc):
    fig = plot_estimate(make_stc(surface_src, MOTOR), views=["lateral"])
    assert fig.axes[-1].get_ylabel() == "nA m"
    assert {"Left", "Right"} <= {text.get_text() for text in fig.texts}


def test_colors_rise_evenly_in_lightness():
    """L* of CIELAB is linear, so that no part of the range seems to have an edge."""
    rgb = CMAP(np.linspace(0, 1, 65))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = np.diff(lightness)
    assert steps.min() > 0.6 * steps.mean()
    assert steps.max() < 1.5 * steps.mean()


def test_limits_of_dense_and_sparse_estimates():
    """The largest tenth of a dense estimate, but no less than a fifth of its maximum."""
    ramp = np.linspace(0.01, 1, 1000)
    assert color_limits(ramp) == (0.75, 1.0)
    peaked = np.r_[ramp[:-1] * 0.05, 1.0]
    assert color_limits(peaked) == (0.2, 1.0)
    assert color_limits(np.r_[np.zeros(900), [0.15, 1.0]]) == (0.075, 1.0)
    assert is_sparse(np.r_[np.zeros(900), [0.15, 1.0]])
    assert not is_sparse(ramp)


def test_probe_that_fails_falls_back(monkeypatch, caplog):
    monkeypatch.setattr("mne_invkit.viz.render._PROBE", "import os; os.abort()")
    monkeypatch.setattr(logging.getLogger("mne"), "propagate", True)
    with caplog.at_level(logging.INFO, "mne"), mne.use_log_level("INFO"):
        assert can_render.__wrapped__() is False
    assert "matplotlib draws the brain" in caplog.text


def test_errors_say_what_to_call(surface_src, volume_src, make_stc):
    surface, volume = make_stc(surface_src, MOTOR), make_stc(volume_src, MOTOR)
    with pytest.raises(TypeError, match="must be a source estimate"):
        plot_estimate(np.zeros(3))
    with pytest.raises(TypeError, match=r"list of 2: pass one of them, such as stc\[0\]"):
        plot_estimate([surface, surface])
    with pytest.raises(TypeError, match=r"pass its estimate, result\.stc"):
        plot_estimate(SimpleNamespace(stc=surface))
    with pytest.raises(ValueError, match="lies outside of stc"):
        plot_estimate(surface, time=7.0)
    with pytest.raises(ValueError, match="views must be among"):
        plot_estimate(surface, views=["oblique"])
    with pytest.raises(ValueError, match="rising order"):
        plot_estimate(surface, clim=(3, 1))
    with pytest.raises(ValueError, match=r'src=forward\["src"\]'):
        plot_estimate(volume)
    other = volume.copy()
    other.vertices[0] = other.vertices[0] + 1
    with pytest.raises(ValueError, match="vertices that src does not use"):
        plot_estimate(other, volume_src)
    with pytest.raises(TypeError, match="no part in a volume"):
        estimate_to_nifti(surface, surface_src)
    with pytest.raises(ValueError, match="not finite"):
        plot_estimate(surface * np.nan)
    with pytest.raises(ValueError, match="needs the folder of the subject"):
        plot_estimate(surface, subject="nobody")
    assert not plt.get_fignums()
