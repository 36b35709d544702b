"""Time courses of the strongest sources."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mne_invkit.inverse.stc import source_positions
from mne_invkit.viz.courses import plot_time_courses
from mne_invkit.viz.snapshot import take_snapshot

MOTOR, VISUAL, DEEP = [-38, -25, 58], [12, -90, 5], [10, -10, 5]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("kind", ["surface", "volume", "mixed"])
@pytest.mark.parametrize("vector", [False, True])
def test_lines_are_those_of_the_strongest_sources(kind, vector, surface_src, volume_src, make_stc):
    src = {"surface": surface_src, "volume": volume_src, "mixed": surface_src + volume_src}[kind]
    second = VISUAL if kind == "surface" else DEEP
    stc = make_stc(src, MOTOR, vector) + make_stc(src, second, vector) * -0.5
    ax = plot_time_courses(stc, src, take_snapshot(stc, src, time=0.01)).axes[0]
    first, second, mark = ax.lines
    np.testing.assert_allclose(first.get_ydata(), [0, 20, 0, 0], atol=1e-9)
    sign = 1 if vector else -1
    np.testing.assert_allclose(second.get_ydata(), [0, sign * 10, 0, 0], atol=1e-9)
    np.testing.assert_allclose(first.get_xdata(), [0, 10, 20, 30], atol=1e-9)
    assert mark.get_xdata()[0] == pytest.approx(10)
    position = take_snapshot(stc, src).peak().position
    words = "MNI ({:.0f}, {:.0f}, {:.0f}) mm, left parietal".format(*position)
    assert ax.get_legend().texts[0].get_text().startswith(words)
    assert ax.get_ylabel() == "Amplitude (nA m)"


def test_sources_are_apart(surface_src, make_stc):
    """The neighbors of a source are not sources of their own."""
    stc = make_stc(surface_src, MOTOR)
    distance = np.linalg.norm(1e3 * source_positions(surface_src) - MOTOR, axis=1)
    stc.data[:, 1] = 2e-8 * np.exp(-distance / 10)
    peaks = take_snapshot(stc).peaks(3)
    found = np.array([peak.position for peak in peaks])
    apart = np.linalg.norm(found[:, None] - found, axis=2)[np.triu_indices(3, 1)]
    assert apart.min() > 20
    assert [peak.value for peak in peaks] == sorted((p.value for p in peaks), reverse=True)


def test_nothing_active(surface_src, make_stc):
    stc = make_stc(surface_src, MOTOR) * 0
    ax = plot_time_courses(stc, surface_src, take_snapshot(stc), "dSPM").axes[0]
    assert ax.get_title() == "no source is active"
    assert ax.get_ylabel() == "Amplitude (dSPM)"
