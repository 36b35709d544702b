"""Pictures of convergence and of the fit to the sensors show their numbers."""

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_invkit.viz.fit import explained_by_type, plot_convergence, plot_sensor_fit, response_time


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
    assert "Explained, 75.0 % (raw)" in [ax.get_title() for ax in fig.axes]
    traces = [line.get_ydata() for line in fig.axes[1].lines][:28]
    np.testing.assert_allclose(traces, 0.5e6 * evoked.data[2:])
    assert bool(fig.axes[3].images) == located  # a map
    bars = [ax for ax in fig.axes if ax.get_label() == "<colorbar>"]
    assert [bar.get_ylabel() for bar in bars] == ["µV"] * located
    for ax in fig.axes[3:6] if located else ():
        low, high = ax.images[0].get_clim()
        assert low == -high  # the same limits in all three
        assert (low, high) == fig.axes[3].images[0].get_clim()
    assert plot_sensor_fit(evoked, residual, time=evoked.tmax + 1e-9).axes  # but for rounding
    with pytest.raises(ValueError, match=r"time=1 s lies outside of evoked, .* -0\.1 to 0\.29"):
        plot_sensor_fit(evoked, residual, time=1.0)
    with pytest.raises(ValueError, match="times"):
        plot_sensor_fit(evoked, residual.crop(0, None))


@pytest.fixture(scope="module")
def tones(shared_data):
    """Real MEG and EEG."""
    path = shared_data / "sample_subject" / "sample_auditory-ave.fif.gz"
    return mne.read_evokeds(path, 0, baseline=(None, 0), verbose="error")


def test_maps_of_gradiometers_are_magnitudes(tones):
    """Limits from zero, colors of one hue, and a bar of its own for each type of sensor."""
    grads = [name for name in tones.ch_names if name.endswith(("2", "3")) and "MEG" in name]
    mags, eeg = (tones.copy().pick(kind).ch_names for kind in ("mag", "eeg"))
    evoked = tones.copy().pick([*grads[:80], *mags[::5], *eeg[::2]]).crop(0.088, 0.092)
    residual = evoked.copy()
    residual.data *= 0.1
    fig = plot_sensor_fit(evoked, residual, time=0.09)
    bars = [ax.get_ylabel() for ax in fig.axes if ax.get_label() == "<colorbar>"]
    assert bars == ["fT", "Magnitude (fT/cm)", "µV"]
    for row, one_sided in ((3, False), (9, True), (15, False)):
        images = [ax.images[0] for ax in fig.axes[row : row + 3]]
        (limits,) = {image.get_clim() for image in images}
        assert limits[0] == (0 if one_sided else -limits[1])
        assert {image.get_cmap().name for image in images} == {"Reds" if one_sided else "RdBu_r"}
        assert images[0].get_array().max() > 5 * images[2].get_array().max() > 0


def test_reference_that_is_not_applied_is_not_left_unexplained():
    """The residual has all projectors applied; the data get them for the comparison."""
    evoked = make_evoked()
    evoked.data += 1e-5
    evoked.set_eeg_reference("average", projection=True)
    residual = evoked.copy().apply_proj()
    residual.data *= 0.5
    assert explained_by_type(evoked, residual) == {"eeg": pytest.approx(75.0)}


@pytest.mark.parametrize("several", [list, tuple])
def test_several_evokeds_name_what_to_pass(several):
    evoked = make_evoked()
    with pytest.raises(TypeError, match=r"evoked\[0\] and result.residual\[0\]"):
        plot_sensor_fit(several([evoked] * 2), several([evoked] * 2))


# %% The time of the response


def make_response(times_of_peaks, tmin=-0.1, sfreq=1000.0):
    """Evoked with fields of rising strength at some times."""
    info = mne.create_info(4, sfreq, "eeg")
    data = np.zeros((4, 301))
    for k, time in enumerate(times_of_peaks):
        data[:, round((time - tmin) * sfreq)] = (k + 1) * np.array([1e-6, -1e-6, 2e-6, 0])
    return mne.EvokedArray(data, info, tmin)


def test_response_is_neither_the_artifact_nor_the_baseline():
    assert response_time(make_response([0.03, -0.05, 0.0, 0.004])) == pytest.approx(0.03)


def test_response_before_the_stimulus_after_the_baseline():
    """Such as the readiness potential."""
    evoked = make_response([0.03, -0.02, -0.08])
    assert response_time(evoked) == pytest.approx(0.03)
    evoked.baseline = (-0.1, -0.05)
    assert response_time(evoked) == pytest.approx(-0.02)


def test_response_where_nothing_else_is_left():
    assert response_time(make_response([0.03, 0.002], tmin=0.001)) == pytest.approx(0.002)
    evoked = make_response([-0.02, -0.08], tmin=-0.301)
    assert response_time(evoked) == pytest.approx(-0.08)


def test_types_of_sensors_count_equally(tones):
    scaled = tones.copy()
    scaled.data[mne.pick_types(scaled.info, meg=True, exclude=())] *= 1e3
    assert response_time(scaled) == response_time(tones) > 0.03
