"""Pictures of convergence and of the fit to the sensors show their numbers."""

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.viz.fit import plot_convergence, plot_sensor_fit


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


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
