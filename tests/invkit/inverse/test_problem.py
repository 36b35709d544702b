"""Problems are those of MNE in numbers, and do not depend on how the data were kept."""

from copy import deepcopy
from functools import partial

import mne
import numpy as np
import pytest
from mne.inverse_sparse.mxne_inverse import _prepare_gain
from mne.minimum_norm import apply_inverse, make_inverse_operator
from recordings import read_auditory

from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.inverse.stc import make_stc

prepare = partial(prepare_problem, verbose=False)

MINIMUM_NORM_DEPTH = dict(
    exp=0.8, limit=10.0, limit_depth_chs=True, combine_xyz="spectral", allow_fixed_depth=False
)
SENSORS = [["eeg"], ["mag"], ["grad"], ["mag", "grad", "eeg"]]
KINDS = ["surface", "volume", "discrete", "mixed"]


def assert_same(problem, other):
    """The same up to a rotation of the whitened sensors."""
    some = problem.gain[:, ::11], other.gain[:, ::11]
    for a, b in [some, (problem.data[0], other.data[0])]:
        expected = some[0].T @ a
        np.testing.assert_allclose(some[1].T @ b, expected, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(other.source_std, problem.source_std, rtol=1e-8)


def assert_same_at_each_location(gain, other, atol):
    """The same up to a rotation of the axes of each location."""
    a, b = (g.reshape(len(g), -1, 3)[:, ::7].transpose(1, 0, 2) for g in (gain, other))
    np.testing.assert_allclose(a @ np.swapaxes(a, -1, -2), b @ np.swapaxes(b, -1, -2), atol=atol)


def minimum_norm(problem, lambda2=1 / 9):
    """Amplitudes of the minimum norm."""
    gram = problem.gain @ problem.gain.T
    whitened = np.linalg.solve(gram + lambda2 * np.eye(len(gram)), problem.data[0])
    return problem.source_std[:, None] * (problem.gain.T @ whitened)


def add_ssp(evoked):
    """Three projection vectors of the magnetometers, as of heartbeats."""
    noise = evoked.copy().pick("mag")
    noise.data = np.random.default_rng(9).standard_normal(noise.data.shape)
    projs = mne.compute_proj_evoked(noise, n_mag=3, n_grad=0, n_eeg=0, verbose=False)
    return evoked.add_proj(projs)


@pytest.fixture(scope="module")
def meeg(meeg_info, make_evoked, make_cov):
    """Evoked with projectors, and its noise covariance."""
    return add_ssp(make_evoked(meeg_info)), make_cov(meeg_info)


@pytest.fixture(scope="module")
def sample(shared_data):
    """Real MEG and EEG: evoked, covariance, and a forward solution of a coarse volume."""
    evokeds, forward, noise_cov = read_auditory(shared_data, pos=20.0)
    return evokeds["left"].crop(0.07, 0.1), forward, noise_cov


# %% The same as MNE


def assert_same_as_sparse(evoked, forward, noise_cov, loose, depth):
    problem = prepare(evoked, forward, noise_cov, loose=loose, depth=depth)
    with mne.use_log_level("error"):
        theirs, gain, info, whitener, source_std, _ = _prepare_gain(
            forward, evoked.info, noise_cov, True, depth, loose, None
        )
    assert problem.info["ch_names"] == info["ch_names"]
    np.testing.assert_allclose(problem.whitener, whitener)
    np.testing.assert_allclose(problem.source_std, source_std)
    if theirs["surf_ori"]:
        np.testing.assert_allclose(problem.gain, gain, atol=1e-10)
    else:
        assert_same_at_each_location(problem.gain, gain, atol=1e-10)
    picked = evoked.copy().pick(info["ch_names"]).data
    np.testing.assert_allclose(problem.data[0], whitener @ picked)
    assert np.sum(problem.gain**2) == pytest.approx(len(problem.gain))


@pytest.mark.parametrize("depth", [None, 0.8, dict(exp=0.5, limit=5.0), MINIMUM_NORM_DEPTH])
@pytest.mark.parametrize("loose", [0.0, 0.2, 1.0])
def test_gain_is_that_of_the_sparse_solvers(meeg, meeg_forward, loose, depth):
    evoked, noise_cov = meeg
    assert_same_as_sparse(evoked, meeg_forward, noise_cov, loose, depth)


@pytest.mark.parametrize("kind", KINDS)
def test_gain_is_that_of_the_sparse_solvers_in_every_space(eeg_evoked, forwards, eeg_cov, kind):
    assert_same_as_sparse(eeg_evoked, forwards[kind], eeg_cov, "auto", 0.8)


def test_gain_is_that_of_the_sparse_solvers_for_real_data(sample):
    evoked, forward, noise_cov = sample
    evoked = evoked.copy()
    evoked.nave = 1  # which the sparse solvers leave out
    assert_same_as_sparse(evoked, forward, noise_cov, "auto", 0.8)


def assert_same_as_minimum_norm(evoked, forward, noise_cov, loose, pick_ori):
    problem = prepare(evoked, forward, noise_cov, loose=loose, depth=MINIMUM_NORM_DEPTH)
    ours = make_stc(problem, minimum_norm(problem), pick_ori=pick_ori)
    operator = make_inverse_operator(evoked.info, forward, noise_cov, loose=loose, verbose="error")
    theirs = apply_inverse(evoked, operator, 1 / 9, "MNE", pick_ori=pick_ori, verbose="error")
    assert type(ours) is type(theirs)
    assert ours.subject == theirs.subject
    np.testing.assert_allclose(ours.times, theirs.times)
    for a, b in zip(ours.vertices, theirs.vertices, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(ours.data, theirs.data, atol=1e-8 * np.abs(theirs.data).max())


@pytest.mark.parametrize(
    ("loose", "pick_ori"),
    [(0.0, None), (0.2, None), (0.2, "normal"), (1.0, "vector"), (1.0, "normal")],
)
@pytest.mark.parametrize("nave", [1, 40])
@pytest.mark.parametrize("sensors", SENSORS, ids="+".join)
def test_minimum_norm_is_that_of_mne(meeg, meeg_forward, sensors, nave, loose, pick_ori):
    evoked, noise_cov = meeg
    evoked = evoked.copy().pick(sensors)
    evoked.nave = nave
    assert_same_as_minimum_norm(evoked, meeg_forward, noise_cov, loose, pick_ori)


@pytest.mark.parametrize("pick_ori", [None, "vector"])
@pytest.mark.parametrize("kind", KINDS)
def test_minimum_norm_is_that_of_mne_in_every_space(eeg_evoked, forwards, eeg_cov, kind, pick_ori):
    assert_same_as_minimum_norm(eeg_evoked, forwards[kind], eeg_cov, "auto", pick_ori)


@pytest.mark.parametrize("sensors", SENSORS, ids="+".join)
def test_minimum_norm_is_that_of_mne_for_real_data(sample, sensors):
    evoked, forward, noise_cov = sample
    evoked = evoked.copy().pick(sensors)
    assert evoked.nave == 3
    assert_same_as_minimum_norm(evoked, forward, noise_cov, "auto", "vector")


# %% The same whatever the form of the data


def with_projectors_applied(evoked, noise_cov):
    return evoked.copy().apply_proj(), noise_cov


def with_projectors_in_the_covariance_too(evoked, noise_cov):
    noise_cov = noise_cov.copy()
    noise_cov["projs"] = deepcopy(evoked.info["projs"])
    return evoked, noise_cov


def with_channels_shuffled(evoked, noise_cov):
    names = list(np.random.default_rng(5).permutation(evoked.ch_names))
    return evoked.copy().reorder_channels(names), noise_cov


def with_covariance_shuffled(evoked, noise_cov):
    names = noise_cov.ch_names[::-1]
    return evoked, noise_cov.copy().pick_channels(names, ordered=True)


def with_average_subtracted(evoked, noise_cov):
    """Subtract the EEG average with no projector to tell of it."""
    evoked = evoked.copy().del_proj(
        [k for k, p in enumerate(evoked.info["projs"]) if "EEG" in p["desc"]]
    )
    return evoked.set_eeg_reference("average", projection=False, verbose=False), noise_cov


def with_another_reference(evoked, noise_cov):
    evoked = evoked.copy()
    evoked.data[mne.pick_types(evoked.info, eeg=True)] += 1e-4
    return evoked, noise_cov


def with_more_channels(evoked, noise_cov):
    info = mne.create_info(["STI", "EOG"], evoked.info["sfreq"], ["stim", "eog"])
    more = mne.EvokedArray(np.ones((2, len(evoked.times))), info, evoked.times[0])
    return evoked.copy().add_channels([more], force_update_info=True), noise_cov


@pytest.mark.parametrize(
    "change",
    [
        with_projectors_applied,
        with_projectors_in_the_covariance_too,
        with_channels_shuffled,
        with_covariance_shuffled,
        with_average_subtracted,
        with_another_reference,
        with_more_channels,
    ],
)
def test_form_of_the_data_does_not_matter(meeg, meeg_forward, change):
    evoked, noise_cov = change(*meeg)
    assert_same(prepare(*meeg[:1], meeg_forward, meeg[1]), prepare(evoked, meeg_forward, noise_cov))


@pytest.mark.parametrize("kind", KINDS)
def test_forward_from_disk_is_the_same(eeg_evoked, forwards, eeg_cov, kind, tmp_path):
    path = tmp_path / "small-fwd.fif"
    forward = forwards[kind].copy()
    mne.write_forward_solution(path, forward, verbose=False)
    read = mne.read_forward_solution(path, verbose=False)
    for s in read["src"]:
        s.pop("shape", None)
    one, other = (prepare(eeg_evoked, f, eeg_cov) for f in (forward, read))
    assert_same_at_each_location(other.gain, one.gain, atol=1e-6)  # the file is in single precision
    make_stc(other, np.zeros((other.gain.shape[1], len(other.times))))


@pytest.mark.parametrize("loose", [0.0, 0.2])
def test_forward_in_surface_orientation_is_the_same(eeg_evoked, forwards, eeg_cov, loose):
    given = forwards["surface"]
    turned = mne.convert_forward_solution(
        given, surf_ori=True, force_fixed=loose == 0, verbose="error"
    )
    assert_same(*(prepare(eeg_evoked, f, eeg_cov, loose=loose) for f in (given, turned)))


def test_nothing_given_is_changed(meeg, meeg_forward):
    evoked, noise_cov = meeg
    data, cov = evoked.data.copy(), noise_cov["data"].copy()
    gain, info = meeg_forward["sol"]["data"].copy(), evoked.info.copy()
    prepare(evoked, meeg_forward, noise_cov, loose=0)
    np.testing.assert_array_equal(evoked.data, data)
    np.testing.assert_array_equal(noise_cov["data"], cov)
    np.testing.assert_array_equal(meeg_forward["sol"]["data"], gain)
    assert mne.utils.object_diff(dict(evoked.info), dict(info)) == ""


# %% Channels, references, rank


@pytest.mark.parametrize("where", ["data", "covariance"])
def test_bad_channels_are_left_out(meeg, meeg_forward, where):
    evoked, noise_cov = (a.copy() for a in meeg)
    bads = ["MEG 003", "MEG 040", "Cz"]
    holder = evoked.info if where == "data" else noise_cov
    holder["bads"] = bads
    problem = prepare(evoked, meeg_forward, noise_cov)
    assert not set(bads) & set(problem.info["ch_names"])
    picked = evoked.copy().drop_channels(bads)
    assert_same(problem, prepare(picked, meeg_forward, noise_cov))


def test_channels_in_common_are_used(eeg_evoked, forwards, eeg_cov):
    forward = mne.pick_channels_forward(forwards["volume"], eeg_evoked.ch_names[:-2])
    noise_cov = eeg_cov.copy().pick_channels(eeg_evoked.ch_names[3:])
    problem = prepare(eeg_evoked, forward, noise_cov)
    assert problem.info["ch_names"] == eeg_evoked.ch_names[3:-2]


def test_whitener_whitens_and_projects(meeg, meeg_forward):
    evoked, noise_cov = meeg
    problem = prepare(evoked, meeg_forward, noise_cov)
    assert len(problem.whitener) == 30 - 3 + 60 + 32 - 1
    np.testing.assert_allclose(
        problem.whitener @ problem.projector, problem.whitener, atol=1e-6 * problem.whitener.max()
    )
    for meg in (True, False):  # MNE whitens MEG and EEG each for itself
        picks = mne.pick_types(evoked.info, meg=meg, eeg=not meg)
        part = problem.whitener[:, picks]
        values = np.linalg.eigvalsh(part @ noise_cov["data"][np.ix_(picks, picks)] @ part.T)
        np.testing.assert_allclose(values[values > 0.5], 1)


def test_noise_basis_is_orthonormal_for_independent_noise(eeg_evoked, forwards):
    basis = prepare(eeg_evoked, forwards["volume"]).noise_basis
    np.testing.assert_allclose(basis @ basis.T, np.eye(31), atol=1e-10)


def test_unreferenced_eeg_raises_unless_it_is_not_used(meeg_info, meeg_forward, make_evoked):
    evoked = make_evoked(meeg_info).del_proj()
    with pytest.raises(ValueError, match=r'set_eeg_reference\("average", projection=True\)'):
        prepare(evoked.copy().pick("eeg"), meeg_forward)
    meg_forward = mne.pick_types_forward(meeg_forward, meg="mag")
    assert prepare(evoked, meg_forward).info.get_channel_types(unique=True) == ["mag"]


def test_covariance_is_needed_for_several_sensor_types(meeg, meeg_forward):
    evoked, _ = meeg
    assert len(prepare(evoked.copy().pick("grad"), meeg_forward).gain) == 60
    with pytest.raises(ValueError, match=r"one sensor type.*compute_covariance"):
        prepare(evoked, meeg_forward)


def test_rank_that_the_covariance_lacks_warns(eeg_evoked, forwards, eeg_cov):
    forward, low = forwards["volume"], eeg_cov.copy()
    values, vectors = np.linalg.eigh(low["data"])
    low["data"] = (vectors[:, 12:] * values[12:]) @ vectors[:, 12:].T
    with (
        pytest.warns(RuntimeWarning, match=r"uses {'eeg': 31}.* has {'eeg': 20}"),
        pytest.warns(RuntimeWarning, match="will likely be unstable"),  # from MNE
    ):
        prepare(eeg_evoked, forward, low, rank=dict(eeg=31))
    with pytest.warns(RuntimeWarning, match=r"spans only {'eeg': '20 of 31'}.*shrunk"):
        problem = prepare(eeg_evoked, forward, low)
    assert len(problem.gain) == 20
    assert len(prepare(eeg_evoked, forward, eeg_cov, rank="info").gain) == 31
