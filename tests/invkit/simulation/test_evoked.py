"""Simulated data have the sources, the SNR and the covariance they were asked for."""

from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.heads.template import template_forward
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.simulation.signals import time_courses


@pytest.fixture(scope="module")
def info():
    montage = mne.channels.make_standard_montage("easycap-M1")
    names = montage.ch_names[:32]
    return mne.create_info(names, 200.0, "eeg").set_montage(montage, on_missing="ignore")


@pytest.fixture(scope="module")
def sphere():
    return mne.make_sphere_model(r0=(0, 0, 0.04), head_radius=0.09, verbose=False)


@pytest.fixture(scope="module")
def forwards(info, sphere):
    """One forward solution for every kind of source space."""
    center = np.array([0, 0, 0.04])
    rr = np.random.default_rng(1).uniform(-0.03, 0.03, (60, 3)) + center
    nn = rr - center
    nn /= np.linalg.norm(nn, axis=1, keepdims=True)
    discrete = mne.setup_volume_source_space(pos={"rr": rr, "nn": nn}, verbose=False)
    volume = template_forward(info, "volume", pos=20.0, verbose=False)
    surface = template_forward(info, spacing="ico3", verbose=False)
    spaces = {"discrete": discrete, "mixed": surface["src"] + discrete}
    made = {
        kind: mne.make_forward_solution(info, None, src, sphere, verbose=False)
        for kind, src in spaces.items()
    }
    return {"surface": surface, "volume": volume, **made}


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
def test_data_are_the_field_of_the_truth(kind, forwards, info):
    forward = forwards[kind]
    simulation = make_simulation(forward, info, extent=0.02, snr_db=200, tmin=-0.1)
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


def test_orientations(forwards, info):
    surface = forwards["surface"]
    normals = np.concatenate([s["nn"][s["vertno"]] for s in surface["src"]])
    drawn = {
        kind: make_simulation(forwards[kind], info, sources=[2, 30], orientation=how).orientations
        for kind, how in [("surface", "auto"), ("volume", "random"), ("mixed", "auto")]
    }
    np.testing.assert_allclose(drawn["surface"], normals, atol=1e-5)
    n_surface = sum(s["nuse"] for s in forwards["mixed"]["src"][:2])
    assert len(np.unique(drawn["mixed"][:n_surface], axis=0)) > 1000
    assert len(np.unique(drawn["volume"], axis=0)) == 2  # one for each centre
    rr = forwards["volume"]["source_rr"]
    nearest = np.linalg.norm(rr[:, None] - rr[[2, 30]], axis=2).argmin(axis=1)
    np.testing.assert_array_equal(drawn["volume"], drawn["volume"][[2, 30]][nearest])
    discrete = make_simulation(forwards["discrete"], info, orientation="normal").orientations
    np.testing.assert_allclose(discrete, forwards["discrete"]["src"][0]["nn"], atol=1e-6)


def test_fixed_and_free_forwards_give_the_same_data(forwards, info):
    free = forwards["surface"]
    options = {"sources": [10, 700], "snr_db": 100}
    reference = make_simulation(free, info, orientation="normal", **options).stc
    fixed = mne.convert_forward_solution(free, force_fixed=True, verbose=False)
    rotated = mne.convert_forward_solution(free, surf_ori=True, verbose=False)
    for forward in (fixed, rotated):
        simulation = make_simulation(forward, info, **options)
        gain = mne.convert_forward_solution(forward, force_fixed=True, verbose=False)["sol"]["data"]
        expected = gain @ simulation.stc.data
        expected -= expected.mean(axis=0)
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(simulation.evoked.data, expected, atol=atol)
        assert simulation.stc.data.shape == reference.data.shape


@pytest.mark.parametrize("snr_db", [-5, 10])
@pytest.mark.parametrize("coloured", [False, True])
def test_measured_snr(snr_db, coloured, forwards, info):
    cov = None
    if coloured:
        mixing = np.random.default_rng(3).standard_normal((32, 32)) * 1e-6
        cov = mne.Covariance(mixing @ mixing.T, info["ch_names"], [], [], nfree=1)
    simulation = make_simulation(forwards["surface"], info, cov, snr_db=snr_db, n_trials=30)
    clean = make_simulation(forwards["surface"], info, cov, snr_db=300, n_trials=30).evoked.data
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


def test_amplitude_of_the_centres(forwards, info):
    simulation = make_simulation(
        forwards["discrete"], info, sources=[4, 40], amplitude=30e-9, time_course="oscillation"
    )
    rms = np.sqrt(np.mean(simulation.stc.data**2, axis=1))
    np.testing.assert_allclose(rms[[4, 40]], 30e-9)
    assert not rms[np.delete(np.arange(60), [4, 40])].any()
    np.testing.assert_array_equal(simulation.sources, [4, 40])


def test_result_goes_straight_into_an_inverse_with_another_head(forwards, info):
    conductive = template_forward(
        info, spacing="ico3", conductivity=(0.3, 0.012, 0.3), verbose=False
    )
    simulation = make_simulation(conductive, info, sources=1, snr_db=20, n_trials=5)
    evoked, forward = simulation.evoked, forwards["surface"]
    operator = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, simulation.noise_cov, verbose=False
    )
    stc = mne.minimum_norm.apply_inverse(evoked, operator, method="sLORETA", verbose=False)
    peak = np.mean(stc.data**2, axis=1).argmax()
    rr = forward["source_rr"]
    assert np.linalg.norm(rr[peak] - rr[simulation.sources[0]]) < 0.03


def test_bad_channels_and_projectors_that_are_there(forwards, info):
    bad = info.copy()
    bad["bads"] = info["ch_names"][:2]
    evoked = make_simulation(forwards["surface"], bad).evoked
    assert evoked.ch_names == info["ch_names"][2:]
    again = make_simulation(forwards["surface"], evoked.info).evoked
    assert len(again.info["projs"]) == 1
    np.testing.assert_allclose(again.data, evoked.data)
    np.testing.assert_allclose(again.data.mean(axis=0), 0, atol=1e-9 * again.data.std())


def test_magnetometers(sphere, forwards):
    names, rng = [f"MEG{k:03d}" for k in range(20)], np.random.default_rng(0)
    meg = mne.create_info(names, 200.0, "mag")
    directions = rng.standard_normal((20, 3))
    directions[:, 2] = np.abs(directions[:, 2])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for ch, ez in zip(meg["chs"], directions, strict=True):
        ex = np.cross(ez, [1.0, 0, 0])
        ex /= np.linalg.norm(ex)
        ch["loc"][:] = np.concatenate([0.12 * ez + [0, 0, 0.04], ex, np.cross(ez, ex), ez])
        ch["coil_type"] = 2000  # point magnetometer
    with meg._unlock():
        meg["dev_head_t"] = mne.transforms.Transform("meg", "head")
    src = forwards["discrete"]["src"]
    forward = mne.make_forward_solution(meg, None, src, sphere, verbose=False)
    evoked = make_simulation(forward, meg).evoked
    assert evoked.get_channel_types(unique=True) == ["mag"]
    assert not evoked.info["projs"]


def test_seed_decides_everything(forwards, info):
    runs = [
        make_simulation(forwards["volume"], info, n_trials=2, rng=rng, time_course="white")
        for rng in (5, np.random.default_rng(5), 6)
    ]
    first, same, other = (run.epochs.get_data() for run in runs)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(runs[0].stc.data, runs[1].stc.data)
    assert np.abs(first - other).max() > 0


def test_time_course_options_by_partial(forwards, info):
    slow = partial(time_courses, kind="ar", ar=0.999)
    data = make_simulation(forwards["volume"], info, sources=[8], time_course=slow).stc.data[8]
    assert np.corrcoef(data[1:], data[:-1])[0, 1] > 0.8


def test_drawn_centers_keep_their_distance(forwards, info):
    for seed in range(5):
        centers = make_simulation(
            forwards["surface"], info, sources=6, min_distance=0.04, rng=seed
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
def test_option_errors(options, match, forwards, info):
    with pytest.raises(ValueError, match=match):
        make_simulation(forwards["volume"], info, **options)


def test_channel_errors(forwards, info):
    forward = forwards["surface"]
    other = mne.create_info(["A", "B"], 200.0, "eeg")
    with pytest.raises(ValueError, match="no good EEG or MEG channel in common"):
        make_simulation(forward, other)
    half = mne.pick_info(info, np.arange(10))
    with pytest.raises(ValueError, match="noise_cov lacks 22 channels"):
        make_simulation(forward, info, mne.make_ad_hoc_cov(half, verbose=False))
    fixed = mne.convert_forward_solution(forward, force_fixed=True, verbose=False)
    with pytest.raises(ValueError, match="force_fixed=False"):
        make_simulation(fixed, info, orientation="random")
