"""Pictures show the sources where they are, for every class of estimate."""

import logging

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.heads.template import (
    SUBJECT,
    template_source_space,
    template_subjects_dir,
    template_trans,
)
from mne_invkit.viz.estimate import plot_estimate
from mne_invkit.viz.fit import plot_convergence, plot_sensor_fit
from mne_invkit.viz.render import can_render
from mne_invkit.viz.snapshot import estimate_to_nifti, take_snapshot


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(params=["pyvista", "matplotlib"])
def renderer(request, monkeypatch):
    if request.param == "matplotlib":
        monkeypatch.setattr("mne_invkit.viz.render.can_render", lambda: False)
    elif not can_render():
        pytest.skip("pyvista cannot draw off screen here")
    return request.param


@pytest.fixture
def no_rendering(monkeypatch):
    monkeypatch.setattr("mne_invkit.viz.render.can_render", lambda: False)


@pytest.fixture(scope="module")
def surface_src():
    return template_source_space("surface", spacing="ico3")


@pytest.fixture(scope="module")
def volume_src():
    return template_source_space("volume", pos=20.0)


def make_stc(src, position, vector=False):
    """Estimate with one active source, the one next to a position (mm), at 10 of 0 to 30 ms."""
    points = 1e3 * np.concatenate([s["rr"][s["vertno"]] for s in src])
    data = np.zeros((len(points), 4))
    data[np.linalg.norm(points - position, axis=1).argmin(), 1] = 2e-8
    classes = {
        "surface": (mne.SourceEstimate, mne.VectorSourceEstimate),
        "volume": (mne.VolSourceEstimate, mne.VolVectorSourceEstimate),
        "mixed": (mne.MixedSourceEstimate, mne.MixedVectorSourceEstimate),
    }
    if vector:
        data = data[:, None] * np.array([0.6, 0.0, -0.8])[:, None]
    vertices = [s["vertno"] for s in src]
    return classes[src.kind][vector](data, vertices, 0.0, 0.01, subject=SUBJECT)


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
def test_surface_source_is_drawn_in_its_hemisphere(surface_src, renderer, side):
    stc = make_stc(surface_src, MOTOR * [-side, 1, 1])
    fig = plot_estimate(stc, title="One source", views=["lateral"])
    here, there = (LEFT, RIGHT) if side < 0 else (RIGHT, LEFT)
    assert n_warm(fig, *here) > 50
    assert n_warm(fig, *there) == 0
    assert "One source\n10 ms, peak 20 nA m at" in fig.get_suptitle()
    assert plt.get_fignums() == [fig.number]


def test_ring_marks_the_peak(surface_src, no_rendering):
    stc = make_stc(surface_src, MOTOR)
    fig = plot_estimate(stc, views=["lateral", "medial"])
    marked = [ax for ax in fig.axes if ax.lines]
    assert marked == [fig.axes[0]]  # left lateral; the source is hidden from the midline
    x, y = marked[0].lines[0].get_data()
    inflated, _ = mne.read_surface(template_subjects_dir() / SUBJECT / "surf" / "lh.inflated")
    vertex = take_snapshot(stc).peak().vertex
    np.testing.assert_allclose([x[0], y[0]], inflated[vertex, 1:] * [-1, 1], atol=1e-6)


def test_ventral_view_is_seen_from_below(surface_src, no_rendering):
    stc = make_stc(surface_src, [-45, -40, -20])
    fig = plot_estimate(stc, views=["ventral"])
    assert n_warm(fig, *RIGHT) > 50
    assert n_warm(fig, *LEFT) == 0


def test_weak_source_of_a_sparse_estimate_is_visible(surface_src, no_rendering):
    strong, weak = make_stc(surface_src, MOTOR), make_stc(surface_src, MOTOR * [-1, 1, 1])
    stc = strong + weak * 0.15
    rows = stc.data[:, 1] > 0
    n_left = len(stc.vertices[0])
    sparse = mne.SourceEstimate(
        stc.data[rows],
        [stc.vertices[0][rows[:n_left]], stc.vertices[1][rows[n_left:]]],
        0.0,
        0.01,
        subject=SUBJECT,
    )
    fig = plot_estimate(sparse, views=["lateral"])
    assert n_warm(fig, *LEFT) > 50
    assert n_warm(fig, *RIGHT) > 50


def test_dense_noise_does_not_hide_the_source(surface_src, no_rendering):
    stc = make_stc(surface_src, MOTOR)
    stc.data += 1e-9 * np.abs(np.random.default_rng(0).normal(size=stc.data.shape))
    fig = plot_estimate(stc, time=0.01, views=["lateral"])
    assert n_warm(fig, *LEFT) > 50
    assert n_warm(fig, *RIGHT) < 0.05 * n_warm(fig, *LEFT)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("kind", ["surface", "volume", "mixed"])
def test_every_class(kind, vector, surface_src, volume_src, no_rendering):
    src = {"surface": surface_src, "volume": volume_src, "mixed": surface_src + volume_src}[kind]
    fig = plot_estimate(make_stc(src, MOTOR, vector), src, views=["lateral"])
    assert "10 ms, peak 20 nA m" in fig.get_suptitle()
    assert n_warm(fig, *LEFT) > 50


@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_zero_estimate_is_an_empty_brain(kind, surface_src, volume_src, no_rendering):
    src = surface_src if kind == "surface" else volume_src
    fig = plot_estimate(make_stc(src, MOTOR) * 0, src)
    assert fig.get_suptitle() == "0 ms, no source is active"
    assert n_warm(fig, 0, 1) == 0


def test_estimate_without_active_vertices(no_rendering):
    empty = mne.SourceEstimate(
        np.zeros((0, 3)), [np.array([], int)] * 2, 0.0, 0.01, subject=SUBJECT
    )
    assert "no source is active" in plot_estimate(empty).get_suptitle()


def test_other_units_and_limits(surface_src, no_rendering):
    stc = make_stc(surface_src, MOTOR) * 1e9  # peak 20
    options = {"unit": "dSPM", "views": ["lateral"]}
    fig = plot_estimate(stc, clim=(5.0, 30.0), **options)
    assert "peak 20 dSPM" in fig.get_suptitle()
    assert fig.axes[-1].get_ylim() == (5.0, 30.0)
    assert n_warm(plot_estimate(stc, clim=(25.0, 30.0), **options), 0, 0.88) == 0


def test_volume_with_rendering_leaves_global_state(volume_src):
    if not can_render():
        pytest.skip("pyvista cannot draw off screen here")
    import pyvista

    before = pyvista.OFF_SCREEN, mne.viz.get_3d_backend()
    fig = plot_estimate(make_stc(volume_src, MOTOR), volume_src)
    assert (pyvista.OFF_SCREEN, mne.viz.get_3d_backend()) == before
    assert n_warm(fig, 0.6, 0.88) > 10  # the ball in the 3-D view


def test_volume_without_subject_is_drawn_on_the_glass_brain(volume_src, no_rendering):
    src = volume_src.copy()
    del src[0]["subject_his_id"]
    stc = make_stc(src, MOTOR)
    stc.subject = None
    assert n_warm(plot_estimate(stc, src), 0, 0.88) > 20


def test_probe_that_fails_falls_back(monkeypatch, caplog):
    monkeypatch.setattr("mne_invkit.viz.render._PROBE", "import os; os.abort()")
    monkeypatch.setattr(logging.getLogger("mne"), "propagate", True)
    with caplog.at_level(logging.INFO, "mne"), mne.use_log_level("INFO"):
        assert can_render.__wrapped__() is False
    assert "matplotlib draws the brain" in caplog.text


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("position", [MOTOR, [20, -70, 10]])
def test_nifti_maximum_is_at_the_source(volume_src, position, vector):
    stc = make_stc(volume_src, position, vector)
    snapshot = take_snapshot(stc, volume_src)
    for estimate in (stc, stc + make_noise(stc)):
        image = estimate_to_nifti(estimate, volume_src)
        data = image.get_fdata()
        voxel = np.unravel_index(data.argmax(), data.shape)
        place = image.affine[:3, :3] @ voxel + image.affine[:3, 3]
        assert np.abs(place - snapshot.peak().position).max() <= 4.0
        assert 0.5 < data.max() / 2e-8 < 1.1


def make_noise(stc):
    noise = stc * 0
    noise.data += np.random.default_rng(1).normal(size=stc.data.shape) * 1e-10
    return noise


def test_head_frame_gives_the_same_image(volume_src):
    trans = template_trans()
    moved = volume_src.copy()
    moved[0]["rr"] = mne.transforms.apply_trans(np.linalg.inv(trans["trans"]), moved[0]["rr"])
    moved[0]["coord_frame"] = trans["from"]
    stc = make_stc(volume_src, MOTOR)
    expected = estimate_to_nifti(stc, volume_src).get_fdata()
    for given in (None, trans, mne.transforms.invert_transform(trans)):
        image = estimate_to_nifti(stc, moved, trans=given)
        np.testing.assert_allclose(image.get_fdata(), expected, atol=1e-11)
    stc.subject = moved[0]["subject_his_id"] = "nobody"
    with pytest.raises(ValueError, match="mri_head_t"):
        estimate_to_nifti(stc, moved)


def test_image_of_a_source_space_read_back(volume_src, tmp_path):
    volume_src.save(tmp_path / "vol-src.fif")
    src = mne.read_source_spaces(tmp_path / "vol-src.fif")
    stc = make_stc(volume_src, MOTOR)
    np.testing.assert_allclose(
        estimate_to_nifti(stc, src).get_fdata(),
        estimate_to_nifti(stc, volume_src).get_fdata(),
        atol=1e-12,
    )


def test_errors_say_what_to_call(surface_src, volume_src):
    surface, volume = make_stc(surface_src, MOTOR), make_stc(volume_src, MOTOR)
    with pytest.raises(TypeError, match="must be a source estimate"):
        plot_estimate(np.zeros(3))
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


def test_convergence():
    fig = plot_convergence([5.0, 3.0, 2.5])
    x, y = fig.axes[0].lines[0].get_data()
    np.testing.assert_array_equal(x, [1, 2, 3])
    np.testing.assert_array_equal(y, [5.0, 3.0, 2.5])
    with pytest.raises(ValueError, match="vector of costs"):
        plot_convergence([])


def make_evoked(located=True):
    montage = mne.channels.make_standard_montage("easycap-M1")
    info = mne.create_info(montage.ch_names[:30], 100.0, "eeg")
    if located:
        info.set_montage(montage)
    data = np.random.default_rng(0).normal(size=(30, 40)) * 1e-6
    return mne.EvokedArray(data, info, tmin=-0.1)


@pytest.mark.parametrize("located", [True, False])
def test_sensor_fit(located):
    evoked = make_evoked(located)
    residual = evoked.copy().drop_channels(evoked.ch_names[:2])
    residual.data *= 0.5
    fig = plot_sensor_fit(evoked, residual)
    assert "Explained, 75.0 %" in [ax.get_title() for ax in fig.axes]
    traces = [line.get_ydata() for line in fig.axes[1].lines][:28]
    np.testing.assert_allclose(traces, 0.5e6 * evoked.data[2:])
    assert bool(fig.axes[3].images) == located  # a map
    with pytest.raises(ValueError, match="times"):
        plot_sensor_fit(evoked, residual.crop(0, None))
