"""Simulated data have the sources, the SNR and the covariance they were asked for."""

from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.heads.template import template_forward
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.simulation.signals import time_courses


def make_simulation(forward, info, *args, **kwargs):
    return simulate_evoked(forward, info, *args, **{"rng": 0, **kwargs}, verbose=False)


def in_db(ratio):
    return 10 * np.log10(ratio)


STCS = {
    "surface": mne.SourceEstimate,
    "volume": mne.VolSourceEstimate,
    "discrete": mne.VolSourceEstimate,
    "mixed": mne.MixedSourceEstimate,
}


@pytest.mark.parametrize("kind", STCS)
def test_data_are_the_field_of_the_truth(kind, forwards, eeg_info):
    forward = forwards[kind]
    simulation = make_simulation(forward, eeg_info, extent=0.02, snr_db=200, tmin=-0.1)
    stc, evoked = simulation.stc, simulation.evoked
    assert type(stc) is STCS[kind]
    np.testing.assert_allclose(stc.times, evoked.times)
    np.testing.assert_allclose(np.linalg.norm(simulation.orientations, axis=1), 1, rtol=1e-5)
    dipoles = stc.data[:, None] * simulation.orientations[:, :, None]
    expected = forward["sol"]["data"] @ dipoles.reshape(-1, len(stc.times))
    expected -= expected.mean(axis=0)
    np.testing.assert_allclose(evoked.data, expected, atol=1e-6 * np.abs(expected).max())
    assert not stc.data[:, evoked.times < 0].any()
    assert stc.data[:, evoked.times >= 0].any(axis=0).all()


def test_orientations(forwards, eeg_info):
    surface = forwards["surface"]
    normals = np.concatenate([s["nn"][s["vertno"]] for s in surface["src"]])
    drawn = {
        kind: make_simulation(
            forwards[kind], eeg_info, sources=[2, 30], orientation=how
        ).orientations
        for kind, how in [("surface", "auto"), ("volume", "random"), ("mixed", "auto")]
    }
    np.testing.assert_allclose(drawn["surface"], normals, atol=1e-5)
    n_surface = sum(s["nuse"] for s in forwards["mixed"]["src"][:2])
    assert len(np.unique(drawn["mixed"][:n_surface], axis=0)) > 1000
    assert len(np.unique(drawn["volume"], axis=0)) == 2  # one for each source
    rr = forwards["volume"]["source_rr"]
    nearest = np.linalg.norm(rr[:, None] - rr[[2, 30]], axis=2).argmin(axis=1)
    np.testing.assert_array_equal(drawn["volume"], drawn["volume"][[2, 30]][nearest])
    discrete = make_simulation(forwards["discrete"], eeg_info, orientation="normal").orientations
    np.testing.assert_allclose(discrete, forwards["discrete"]["src"][0]["nn"], atol=1e-6)


def test_rotated_axes_give_the_same_recording(forwards, eeg_info):
    free = forwards["surface"]
    rotated = mne.convert_forward_solution(free, surf_ori=True, verbose=False)
    options = {"sources": [10, 700], "extent": 0.01}
    first, second = (make_simulation(forward, eeg_info, **options) for forward in (free, rotated))
    np.testing.assert_array_equal(first.stc.data, second.stc.data)
    atol = 1e-5 * np.abs(first.evoked.data).max()
    np.testing.assert_allclose(first.evoked.data, second.evoked.data, atol=atol)


def test_fixed_forward_gives_the_field_of_its_columns(forwards, eeg_info):
    fixed = mne.convert_forward_solution(forwards["surface"], force_fixed=True, verbose=False)
    simulation = make_simulation(fixed, eeg_info, sources=[10, 700], snr_db=100)
    np.testing.assert_array_equal(simulation.orientations, fixed["source_nn"])
    expected = fixed["sol"]["data"] @ simulation.stc.data
    expected -= expected.mean(axis=0)
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(simulation.evoked.data, expected, atol=atol)


@pytest.mark.parametrize("snr_db", [-5, 10])
@pytest.mark.parametrize("coloured", [False, True])
def test_measured_snr(snr_db, coloured, forwards, eeg_info):
    cov = None
    if coloured:
        mixing = np.random.default_rng(3).standard_normal((32, 32)) * 1e-6
        cov = mne.Covariance(mixing @ mixing.T, eeg_info["ch_names"], [], [], nfree=1)
    simulation = make_simulation(forwards["surface"], eeg_info, cov, snr_db=snr_db, n_trials=30)
    clean = make_simulation(forwards["surface"], eeg_info, cov, snr_db=300, n_trials=30).evoked.data
    epochs, evoked = simulation.epochs, simulation.evoked
    assert evoked.nave == len(epochs) == 30
    np.testing.assert_allclose(evoked.data, epochs.get_data().mean(axis=0), atol=1e-12)
    whitener, _ = mne.cov.compute_whitener(
        simulation.noise_cov, evoked.info, pca=True, verbose=False
    )
    noise = whitener @ (epochs.get_data() - clean)
    ratio = np.mean((whitener @ clean) ** 2) / np.mean(noise**2)
    assert in_db(ratio) == pytest.approx(snr_db, abs=1e-6)
    # the covariance returned is that of the noise of one trial, and averaging divides it
    noise = np.swapaxes(noise, 0, 1)
    np.testing.assert_allclose(np.cov(noise.reshape(31, -1)), np.eye(31), atol=0.12)
    assert np.var(noise.mean(axis=1)) == pytest.approx(1 / 30, rel=0.15)


def test_amplitude_of_the_sources(forwards, eeg_info):
    simulation = make_simulation(
        forwards["discrete"], eeg_info, sources=[4, 40], amplitude=30e-9, time_course="oscillation"
    )
    rms = np.sqrt(np.mean(simulation.stc.data**2, axis=1))
    np.testing.assert_allclose(rms[[4, 40]], 30e-9)
    assert not rms[np.delete(np.arange(60), [4, 40])].any()
    np.testing.assert_array_equal(simulation.sources, [4, 40])


def test_result_goes_straight_into_an_inverse_with_another_head(forwards, eeg_info):
    conductive = template_forward(
        eeg_info, spacing="ico3", conductivity=(0.3, 0.012, 0.3), verbose=False
    )
    simulation = make_simulation(conductive, eeg_info, sources=1, snr_db=20, n_trials=5)
    evoked, forward = simulation.evoked, forwards["surface"]
    operator = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, simulation.noise_cov, verbose=False
    )
    stc = mne.minimum_norm.apply_inverse(evoked, operator, method="sLORETA", verbose=False)
    peak = np.mean(stc.data**2, axis=1).argmax()
    rr = forward["source_rr"]
    assert np.linalg.norm(rr[peak] - rr[simulation.sources[0]]) < 0.03


def test_bad_channels_and_projectors_that_are_there(forwards, eeg_info):
    bad = eeg_info.copy()
    bad["bads"] = eeg_info["ch_names"][:2]
    evoked = make_simulation(forwards["surface"], bad).evoked
    assert evoked.ch_names == eeg_info["ch_names"][2:]
    again = make_simulation(forwards["surface"], evoked.info).evoked
    assert len(again.info["projs"]) == 1
    np.testing.assert_allclose(again.data, evoked.data)
    np.testing.assert_allclose(again.data.mean(axis=0), 0, atol=1e-9 * again.data.std())


@pytest.mark.parametrize("kinds", [["mag"], ["mag", "grad", "eeg"]])
def test_any_kind_of_sensor(kinds, meeg_info, meeg_forward):
    """MEG and EEG have the fields of the same sources, and EEG alone is referenced."""
    picks = np.flatnonzero(np.isin(meeg_info.get_channel_types(), kinds))
    info = mne.pick_info(meeg_info, picks)
    simulation = make_simulation(meeg_forward, info, sources=[50], snr_db=200)
    evoked = simulation.evoked
    assert evoked.get_channel_types(unique=True) == kinds
    assert len(evoked.info["projs"]) == ("eeg" in kinds)
    fixed = mne.convert_forward_solution(meeg_forward, force_fixed=True, verbose=False)
    expected = fixed["sol"]["data"][picks] @ simulation.stc.data
    eeg = np.isin(evoked.get_channel_types(), "eeg")
    expected[eeg] -= expected[eeg].mean(axis=0) if eeg.any() else 0
    scale = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(evoked.data / scale, expected / scale, atol=1e-4)


def test_seed_decides_everything(forwards, eeg_info):
    runs = [
        make_simulation(forwards["volume"], eeg_info, n_trials=2, rng=rng, time_course="white")
        for rng in (5, np.random.default_rng(5), 6)
    ]
    first, same, other = (run.epochs.get_data() for run in runs)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(runs[0].stc.data, runs[1].stc.data)
    assert np.abs(first - other).max() > 0


def test_time_course_options_by_partial(forwards, eeg_info):
    slow = partial(time_courses, kind="ar", ar=0.999)
    data = make_simulation(forwards["volume"], eeg_info, sources=[8], time_course=slow).stc.data[8]
    assert np.corrcoef(data[1:], data[:-1])[0, 1] > 0.8


def test_drawn_centers_keep_their_distance(forwards, eeg_info):
    for seed in range(5):
        centers = make_simulation(
            forwards["surface"], eeg_info, sources=6, min_distance=0.04, rng=seed
        ).sources
        rr = forwards["surface"]["source_rr"][centers]
        distance = np.linalg.norm(rr[:, None] - rr, axis=2) + np.eye(6)
        assert distance.min() >= 0.04


# %% Errors


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sources": 0}, "sources must be"),
        ({"sources": [100_000]}, "sources must be"),
        ({"sources": 50, "min_distance": 0.1}, "lower min_distance"),
        ({"orientation": "radial"}, "orientation must be"),
        ({"orientation": "normal"}, "no normals"),
        ({"tmin": 1.0}, "tmin"),
        ({"tmin": -1.0, "tmax": -0.5}, "tmax"),
    ],
)
def test_option_errors(options, match, forwards, eeg_info):
    with pytest.raises(ValueError, match=match):
        make_simulation(forwards["volume"], eeg_info, **options)


def test_channel_errors(forwards, eeg_info):
    forward = forwards["surface"]
    other = mne.create_info(["A", "B"], 200.0, "eeg")
    with pytest.raises(ValueError, match="no good EEG or MEG channel in common"):
        make_simulation(forward, other)
    half = mne.pick_info(eeg_info, np.arange(10))
    with pytest.raises(ValueError, match="noise_cov lacks 22 channels"):
        make_simulation(forward, eeg_info, mne.make_ad_hoc_cov(half, verbose=False))
    fixed = mne.convert_forward_solution(forward, force_fixed=True, verbose=False)
    with pytest.raises(ValueError, match="force_fixed=False"):
        make_simulation(fixed, eeg_info, orientation="random")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(sources=[1.5]), "sources must be a whole number"),
        (dict(sources="3"), "sources must be a whole number"),
        (dict(n_trials=0), "n_trials must be a whole number of at least 1"),
        (dict(n_trials=1.5), "n_trials must be a whole number"),
        (dict(snr_db=np.nan), "snr_db must be a number"),
        (dict(snr_db="5"), "snr_db must be a number"),
        (dict(amplitude=0), "amplitude must be a finite number"),
    ],
)
def test_options_without_meaning_are_refused(options, message, forwards, eeg_info):
    with pytest.raises(ValueError, match=message):
        simulate_evoked(forwards["volume"], eeg_info, **options)


def test_other_things_than_info_and_covariance_are_refused(forwards, eeg_evoked):
    with pytest.raises(TypeError, match=r"pass inst\.info"):
        simulate_evoked(forwards["volume"], eeg_evoked)
    with pytest.raises(TypeError, match="make_ad_hoc_cov"):
        simulate_evoked(forwards["volume"], eeg_evoked.info, np.eye(32))
