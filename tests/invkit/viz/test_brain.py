"""MNE's Brain shows sources where they are, and leaves MNE and pyvista as they were."""

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.viz.brain import plot_brain
from mne_invkit.viz.estimate import plot_estimate
from mne_invkit.viz.render import can_render

HAND = (-38, -25, 58)


@pytest.fixture
def draw():
    """Draw an estimate from the side; return the picture as an array of integers."""
    if not can_render():
        pytest.skip("pyvista cannot draw off screen here")
    for package in ("ipywidgets", "ipyevents", "pyvistaqt"):
        pytest.importorskip(package)
    brains = []

    def draw(stc, **options):
        options = {"views": ["lateral"], "size": (600, 300), "verbose": False, **options}
        brains.append(plot_brain(stc, **options))
        return brains[-1].screenshot().astype(int)

    draw.brains = brains
    yield draw
    for drawn in brains:
        drawn.close()


@pytest.fixture
def estimate(make_stc, surface_src):
    """Make an estimate with one source on the cortex, of negative amplitude."""
    return lambda position=HAND, vector=False: make_stc(surface_src, position, vector) * -1


def n_warm(picture):
    """Count the red, orange and yellow pixels of both halves, above the color bar."""
    red, _, blue = np.moveaxis(picture[: int(0.7 * len(picture))], -1, 0)
    return [int(half.sum()) for half in np.array_split(red - blue > 80, 2, axis=1)]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_source_is_drawn_in_its_hemisphere(draw, estimate, side, sparse, keep_active):
    stc = estimate(np.multiply(HAND, [1 if side == "left" else -1, 1, 1]))
    counts = n_warm(draw(keep_active(stc) if sparse else stc))
    assert (counts[0] > 20) == (side == "left")
    assert (counts[1] > 20) == (side == "right")
    assert min(counts) == 0


def test_ball_marks_the_peak(draw, estimate):
    picture = draw(estimate())
    red, green, blue = np.moveaxis(picture[: int(0.7 * len(picture))], -1, 0)
    rows, columns = np.nonzero((green - red > 60) & (blue - red > 60))
    assert columns.size
    warm = np.column_stack(np.nonzero(red - blue > 80)).mean(axis=0)
    assert np.linalg.norm(warm - [rows.mean(), columns.mean()]) < 5


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("sparse", [False, True])
def test_limits_and_labels_are_those_of_the_other_picture(
    estimate, draw, side, sparse, keep_active
):
    """A bar with its unit, the time and the hemispheres; a dense map is not painted all over."""
    stc = estimate(np.multiply(HAND, [-side, 1, 1]))
    if sparse:
        stc = keep_active(stc)
    else:
        stc.data += 1e-9 * np.abs(np.random.default_rng(0).normal(size=stc.data.shape))
    bar = plot_estimate(stc, time=0.01, views=["lateral"]).axes[-1]
    plt.close("all")
    picture = draw(stc, time=0.01)
    drawn = draw.brains[-1]
    low, high = drawn.data["fmin"], drawn.data["fmax"]
    np.testing.assert_allclose([low, high], bar.get_ylim(), rtol=1e-6)
    assert bar.get_ylabel() == "nA m"
    assert {"Left", "Right", "nA m"} <= set(drawn._actors["text"])
    assert drawn.data["time_actor"].GetInput() == "10 ms"
    assert drawn._scalar_bar is not None
    assert 20 < sum(n_warm(picture)) < 0.02 * picture[..., 0].size


def test_dark_background(draw, estimate):
    picture = draw(estimate(), background="black")
    assert picture[0, 0].max() == 0
    assert (picture[:60].min(axis=-1) > 200).any()  # white words


def test_vectors_are_drawn_as_their_lengths(draw, estimate):
    np.testing.assert_array_equal(draw(estimate(vector=True)), draw(estimate()))


@pytest.mark.parametrize("sparse", [False, True])
def test_nothing_active(draw, estimate, sparse, keep_active):
    stc = estimate() * 0
    picture = draw(keep_active(stc) if sparse else stc)
    assert n_warm(picture) == [0, 0]
    assert np.ptp(picture) > 100  # the cortex is there
    assert "0 ms, no source is active" in draw.brains[-1]._actors["text"]


def test_time(draw, estimate):
    stc = estimate()
    assert n_warm(draw(stc, time=0.0)) == [0, 0]
    assert n_warm(draw(stc, time=0.01))[0] > 20
    with pytest.raises(ValueError, match="outside of stc"):
        draw(stc, time=1.0)


def test_estimate_does_not_change(draw, estimate):
    stc, before = estimate(), estimate()
    draw(stc)
    np.testing.assert_array_equal(stc.data, before.data)


def test_settings_are_restored(draw, estimate):
    import pyvista

    before = pyvista.OFF_SCREEN, mne.viz.get_3d_backend()
    draw(estimate())
    assert (pyvista.OFF_SCREEN, mne.viz.get_3d_backend()) == before
    with pytest.raises(OSError, match="nonsense"):
        draw(estimate(), surface="nonsense")
    assert (pyvista.OFF_SCREEN, mne.viz.get_3d_backend()) == before


def test_picture_is_saved(draw, estimate, tmp_path):
    shot = draw(estimate())  # skips where nothing can be drawn
    drawn = plot_brain(estimate(), views=["lateral"], size=(600, 300), verbose=False)
    drawn.save_image(tmp_path / "brain.png")
    drawn.close()
    saved = np.rint(255 * plt.imread(tmp_path / "brain.png")[..., :3]).astype(int)
    assert n_warm(saved)[0] == pytest.approx(n_warm(shot)[0], rel=0.2)


# %% What cannot be drawn


def test_volume_estimate_names_what_to_call():
    stc = mne.VolSourceEstimate(np.ones((2, 1)), [np.arange(2)], 0, 1)
    with pytest.raises(TypeError, match=r"VolSourceEstimate: use .*plot_estimate"):
        plot_brain(stc)


def test_lists_and_other_units_name_what_to_pass(estimate):
    with pytest.raises(TypeError, match=r"list of 2: pass one of them, such as stc\[0\]"):
        plot_brain([estimate(), estimate()])
    if can_render():
        with pytest.raises(ValueError, match='unit="dSPM"'):
            plot_brain(estimate() * 1e9)


@pytest.mark.parametrize("lack", ["OpenGL", "ipyevents"])
def test_what_is_missing_can_be_installed(estimate, monkeypatch, lack):
    def set_3d_backend(name):
        raise ModuleNotFoundError("No module named 'ipyevents'", name="ipyevents")

    pytest.importorskip("pyvista")
    monkeypatch.setattr("mne_invkit.viz.render.can_render", lambda: lack != "OpenGL")
    monkeypatch.setattr(mne.viz, "set_3d_backend", set_3d_backend)
    with pytest.raises(RuntimeError, match=r'pip install "mne-invkit\[viz\]"'):
        plot_brain(estimate())
