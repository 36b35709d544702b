"""Sources come back to MNE in A m, in the right class, at the right place."""

import pickle
from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.heads.template import (
    SUBJECT,
    template_source_space,
    template_subjects_dir,
    template_trans,
)  # fmt: skip
from mne_invkit.inverse.estimate import explained_variance, make_dipoles
from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.inverse.result import make_result
from mne_invkit.inverse.stc import dense_data, make_stc
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.solvers.registry import get_solver

prepare = partial(prepare_problem, verbose=False)

SCALAR = dict(
    surface=mne.SourceEstimate,
    volume=mne.VolSourceEstimate,
    discrete=mne.VolSourceEstimate,
    mixed=mne.MixedSourceEstimate,
)
VECTOR = dict(
    surface=mne.VectorSourceEstimate,
    volume=mne.VolVectorSourceEstimate,
    discrete=mne.VolVectorSourceEstimate,
    mixed=mne.MixedVectorSourceEstimate,
)
KINDS = list(SCALAR)


@pytest.fixture(scope="module")
def problems(make_evoked, eeg_info, forwards, eeg_cov):
    """One problem for every kind of source space, all of free orientation."""
    evoked = make_evoked(eeg_info)
    return {kind: prepare(evoked, forward, eeg_cov) for kind, forward in forwards.items()}


def random_sources(problem, n_active=None, rng=0):
    """Random sources of all trials, all of them or a few locations active."""
    rng = np.random.default_rng(rng)
    n_trials, _, n_times = problem.data.shape
    sources = rng.standard_normal((n_trials, problem.gain.shape[1], n_times))
    if n_active is not None:
        silent = rng.permutation(problem.forward["nsource"])[n_active:]
        sources.reshape(n_trials, -1, problem.n_orient, n_times)[:, silent] = 0
    return sources


def random_amplitude(problem, n_active=None):
    return 1e-9 * random_sources(problem, n_active)[0]


def dense(stc, src):
    """Put the values of a sparse estimate at all the locations of the source space."""
    active = np.concatenate(
        [np.isin(s["vertno"], v) for s, v in zip(src, vertices_of(stc), strict=True)]
    )
    data = np.zeros((len(active), *stc.data.shape[1:]))
    data[active] = stc.data
    return data


def vertices_of(stc):
    return stc.vertices if isinstance(stc.vertices, list) else [stc.vertices]


# %% Estimates


@pytest.mark.parametrize("kind", KINDS)
def test_class_and_norm(problems, kind):
    problem = problems[kind]
    amplitude = random_amplitude(problem)
    scalar = make_stc(problem, amplitude)
    vector = make_stc(problem, amplitude, pick_ori="vector")
    assert (type(scalar), type(vector)) == (SCALAR[kind], VECTOR[kind])
    np.testing.assert_allclose(vector.magnitude().data, scalar.data)
    for stc in (scalar, vector):
        np.testing.assert_allclose(stc.times, problem.times)
        assert stc.subject == (None if kind == "discrete" else SUBJECT)


@pytest.mark.parametrize("kind", ["surface", "discrete"])
@pytest.mark.parametrize("loose", [0.0, 0.3])
def test_normal_is_the_component_along_the_normal(
    eeg_evoked, forwards, eeg_cov, problems, kind, loose
):
    loosely = prepare(eeg_evoked, forwards[kind], eeg_cov, loose=loose)
    amplitude = random_amplitude(loosely)
    normal = make_stc(loosely, amplitude, pick_ori="normal")
    assert type(normal) is SCALAR[kind]
    if loose == 0:
        np.testing.assert_array_equal(normal.data, amplitude)
    else:
        vector = make_stc(loosely, amplitude, pick_ori="vector")
        nn = loosely.forward["source_nn"].reshape(-1, 3, 3)[:, 2]
        np.testing.assert_allclose(normal.data, np.einsum("ni,nit->nt", nn, vector.data))
        if kind == "discrete":
            src = forwards[kind]["src"][0]
            np.testing.assert_allclose(nn, src["nn"][src["vertno"]], atol=1e-6)


@pytest.mark.parametrize("pick_ori", [None, "vector"])
@pytest.mark.parametrize("kind", KINDS)
def test_sparse_keeps_only_the_active(problems, kind, pick_ori):
    problem = problems[kind]
    amplitude = random_amplitude(problem, n_active=5)
    full = make_stc(problem, amplitude, pick_ori=pick_ori)
    sparse = make_stc(problem, amplitude, pick_ori=pick_ori, sparse=True)
    assert type(sparse) is type(full)
    assert len(sparse.data) == 5
    np.testing.assert_array_equal(dense(sparse, problem.forward["src"]), full.data)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_active(problems, kind):
    problem = problems[kind]
    silence = np.zeros((1, problem.gain.shape[1], len(problem.times)))
    result = make_result(problem, silence, sparse=True)
    assert result.stc.data.shape == (0, len(problem.times))
    assert result.explained_variance == 0
    assert make_dipoles(problem, silence[0]) == []


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("pick_ori", [None, "vector"])
@pytest.mark.parametrize("kind", KINDS)
def test_estimates_survive_the_disk(problems, kind, pick_ori, sparse, tmp_path):
    problem = problems[kind]
    amplitude = random_amplitude(problem, n_active=7)
    stc = make_stc(problem, amplitude, pick_ori=pick_ori, sparse=sparse)
    stc.save(tmp_path / "estimate", ftype="h5", verbose=False)
    read = mne.read_source_estimate(next(tmp_path.iterdir()))
    assert type(read) is type(stc)
    assert read.subject == stc.subject
    np.testing.assert_array_equal(read.data, stc.data)
    np.testing.assert_allclose(read.times, stc.times)
    for a, b in zip(vertices_of(read), vertices_of(stc), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sparse", [False, True])
def test_surface_estimate_can_be_morphed(problems, sparse):
    problem = problems["surface"]
    stc = make_stc(problem, random_amplitude(problem, n_active=20), sparse=sparse)
    morph = mne.compute_source_morph(
        stc, SUBJECT, SUBJECT, spacing=None if sparse else 2, smooth="nearest", sparse=sparse,
        subjects_dir=template_subjects_dir(), verbose=False,
    )  # fmt: skip
    morphed = morph.apply(stc)
    if sparse:  # onto the same subject
        np.testing.assert_allclose(morphed.data, stc.data)
    else:
        assert [len(v) for v in morphed.vertices] == [162, 162]
        assert morphed.data.any()


@pytest.mark.parametrize(
    ("kind", "loose", "pick_ori", "message"),
    [
        ("surface", "auto", "radial", "must be None"),
        ("volume", "auto", "normal", "source space is volume"),
        ("mixed", "auto", "normal", "source space is mixed"),
        ("surface", 0.0, "vector", 'pass loose="auto"'),
    ],
)
def test_impossible_orientation_raises(
    eeg_evoked, forwards, eeg_cov, kind, loose, pick_ori, message
):
    problem = prepare(eeg_evoked, forwards[kind], eeg_cov, loose=loose)
    with pytest.raises(ValueError, match=message):
        make_stc(problem, random_amplitude(problem), pick_ori=pick_ori)


# %% The unit


@pytest.fixture(scope="module")
def three_dipoles(eeg_info, sphere):
    """Forward solution of three sources, so few that data tell them apart exactly."""
    rr = np.array([[0.04, 0.01, 0.06], [-0.04, 0.0, 0.07], [0.0, 0.05, 0.04]])
    nn = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    src = mne.setup_volume_source_space(pos=dict(rr=rr, nn=nn), verbose=False)
    return mne.make_forward_solution(eeg_info, None, src, sphere, verbose=False)


@pytest.fixture(scope="module")
def moments():
    """Moments in A m, shape (3 sources, xyz, times)."""
    times = np.linspace(0, 1, 20)
    courses = np.stack([np.sin(7 * times), 0.5 * np.cos(3 * times), 0.1 * np.sin(20 * times)])
    axes = np.array([[1.0, 0, 0], [0.6, 0, 0.8], [0, -0.8, 0.6]])
    return 20e-9 * axes[:, :, None] * courses[:, None]


@pytest.fixture
def exact(eeg_info, three_dipoles, moments, eeg_cov):
    """Problem without noise, and its sources by least squares."""
    data = three_dipoles["sol"]["data"] @ moments.reshape(9, -1)
    evoked = mne.EvokedArray(data, eeg_info, nave=25, verbose=False)
    evoked.set_eeg_reference("average", projection=True, verbose=False)
    problem = prepare(evoked, three_dipoles, eeg_cov)
    return problem, np.linalg.pinv(problem.gain) @ problem.data


def test_amplitude_is_in_ampere_meters(exact, moments):
    problem, sources = exact
    result = make_result(problem, sources, pick_ori="vector")
    np.testing.assert_allclose(result.stc.data, moments, atol=1e-15)
    assert result.explained_variance == pytest.approx(100)
    assert np.abs(result.residual.data).max() < 1e-8 * np.abs(problem.insts[0].data).max()


def test_dipoles_are_at_their_place_with_their_moment(exact, three_dipoles, moments):
    problem, sources = exact
    dipoles = make_dipoles(problem, sources[0])
    rr = three_dipoles["source_rr"]
    order = [int(np.linalg.norm(rr - d.pos[0], axis=1).argmin()) for d in dipoles]
    assert sorted(order) == [0, 1, 2]
    fields = [problem.gain[:, 3 * k : 3 * k + 3] @ sources[0, 3 * k : 3 * k + 3] for k in order]
    powers = [np.sum(f**2) for f in fields]
    assert powers == sorted(powers, reverse=True)
    for k, field, dipole in zip(order, fields, dipoles, strict=True):
        np.testing.assert_allclose(dipole.pos, np.tile(rr[k], (20, 1)))
        np.testing.assert_allclose(dipole.ori.T * dipole.amplitude, moments[k], atol=1e-15)
        np.testing.assert_allclose(dipole.times, problem.times)
        rest = np.sum((problem.data[0] - field) ** 2, axis=0) / np.sum(problem.data[0] ** 2, axis=0)
        np.testing.assert_allclose(dipole.gof, np.clip(100 * (1 - rest), 0, 100))


def test_the_first_dipoles_are_enough(problems):
    problem = problems["volume"]
    sources = random_sources(problem, n_active=6)[0]
    all_six = make_dipoles(problem, sources)
    assert len(all_six) == 6
    for one, other in zip(make_dipoles(problem, sources, 2), all_six[:2], strict=True):
        np.testing.assert_array_equal(one.pos, other.pos)


def test_explained_variance_of_half_the_field(problems):
    problem = problems["volume"]
    sources = np.linalg.pinv(problem.gain) @ problem.data
    for share, percent in [(0, 0), (0.5, 75), (1, 100), (2, 0), (3, -300)]:
        found = explained_variance(problem, share * sources)
        assert found == pytest.approx(percent, abs=1e-6)


# %% Residuals


@pytest.fixture(scope="module")
def recordings(meeg_info, make_evoked):
    """The same recording in every form, with more channels than the forward solution has."""
    evokeds = [make_evoked(meeg_info, n_times=120, rng=k) for k in range(2)]
    for evoked in evokeds:
        evoked.info["bads"] = ["MEG 003", "Cz"]
    raw = mne.io.RawArray(evokeds[0].data, evokeds[0].info, first_samp=50, verbose=False)
    raw.set_annotations(mne.Annotations([0.3], [0.1], ["bad_blink"]))
    events = mne.make_fixed_length_events(raw, id=1, duration=0.3)
    events[::2, 2] = 2
    epochs = mne.Epochs(raw, events, dict(odd=1, even=2), 0, 0.1, baseline=None, verbose=False)
    return dict(evoked=evokeds[0], evokeds=evokeds, epochs=epochs, raw=raw)


def stacked(insts, picks=None):
    """Data of all the trials, shape (n_trials, n_channels, n_times)."""
    data = [inst.get_data(picks) for inst in insts]
    return np.concatenate([d if d.ndim == 3 else d[np.newaxis] for d in data])


@pytest.mark.parametrize("form", ["evoked", "evokeds", "epochs", "raw"])
def test_residual_and_field_make_the_projected_data(recordings, meeg_forward, make_cov, form):
    inst = recordings[form]
    problem = prepare(inst, meeg_forward, make_cov(recordings["evoked"].info))
    sources = random_sources(problem, n_active=30)
    result = make_result(problem, sources)
    residuals, insts = (x if isinstance(x, list) else [x] for x in (result.residual, inst))
    field = problem.projector @ problem.forward["sol"]["data"]
    field = field @ (problem.source_std[:, None] * sources)
    residual, data = stacked(residuals), stacked(insts, problem.info["ch_names"])
    expected = problem.projector @ data
    np.testing.assert_allclose(residual + field, expected, atol=1e-10 * np.abs(data).max())
    for one, other in zip(residuals, insts, strict=True):
        assert one.ch_names == problem.info["ch_names"]
        np.testing.assert_allclose(one.times, other.times)
        assert isinstance(one, type(other)) or form == "epochs"


def test_residual_of_epochs_keeps_their_events(recordings, meeg_forward, make_cov):
    epochs = recordings["epochs"]
    problem = prepare(epochs, meeg_forward, make_cov(epochs.info))
    result = make_result(problem, random_sources(problem, n_active=3))
    assert isinstance(result.residual, mne.BaseEpochs)
    assert len(result.stc) == len(result.residual) == len(epochs) < len(epochs.drop_log)
    np.testing.assert_array_equal(result.residual.events, epochs.events)
    assert result.residual.event_id == epochs.event_id
    assert result.residual.drop_log == epochs.drop_log


def test_residual_of_epochs_when_a_condition_is_all_bad(recordings, meeg_forward, make_cov):
    epochs = recordings["epochs"].copy().load_data()
    epochs.drop(np.flatnonzero(epochs.events[:, 2] == 1), verbose=False)
    problem = prepare(epochs, meeg_forward, make_cov(epochs.info))
    residual = make_result(problem, random_sources(problem)).residual
    assert len(residual["even"]) == len(epochs)


def test_residual_of_raw_keeps_its_annotations(recordings, meeg_forward, make_cov):
    raw = recordings["raw"]
    problem = prepare(raw, meeg_forward, make_cov(raw.info))
    residual = make_result(problem, random_sources(problem, n_active=3)).residual
    assert residual.first_samp == raw.first_samp
    assert list(residual.annotations.description) == ["bad_blink"]


@pytest.mark.parametrize("form", ["evoked", "epochs"])
def test_result_can_be_pickled(recordings, meeg_forward, make_cov, form):
    inst = recordings[form]
    problem = prepare(inst, mne.pick_types_forward(meeg_forward, eeg=True), make_cov(inst.info))
    sources = random_sources(problem, n_active=3)
    result = make_result(problem, sources, sparse=True, settings=dict(a=1), cost=np.arange(3.0))
    again = pickle.loads(pickle.dumps(result))
    assert again.settings == result.settings
    np.testing.assert_array_equal(again.cost, result.cost)
    assert again.explained_variance == result.explained_variance
    one, other = (r.stc if form == "evoked" else r.stc[0] for r in (result, again))
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(result.residual.get_data(), again.residual.get_data())


# %% One hemisphere


@pytest.mark.parametrize(("hemi", "side"), [("lh", 0), ("rh", 1)])
def test_one_hemisphere_is_a_cortex_with_an_empty_half(
    hemi, side, eeg_info, eeg_evoked, eeg_cov, sphere
):
    """MNE calls it mixed, so it was free and had no class of estimates."""
    src = template_source_space(spacing="ico3", verbose=False)[side : side + 1]
    forward = mne.make_forward_solution(eeg_info, template_trans(), src, sphere, verbose=False)
    problem = prepare(eeg_evoked, forward, eeg_cov)
    std = problem.source_std.reshape(-1, 3)
    np.testing.assert_allclose(std[:, 0] / std[:, 2], np.sqrt(0.2))  # loose is "auto"
    sources = random_sources(problem)
    for pick_ori, kind in ((None, mne.SourceEstimate), ("vector", mne.VectorSourceEstimate)):
        stc = make_result(problem, sources, pick_ori=pick_ori, verbose=False).stc
        assert type(stc) is kind
        np.testing.assert_array_equal(stc.vertices[side], forward["src"][0]["vertno"])
        assert len(stc.vertices[1 - side]) == 0
        np.testing.assert_array_equal(getattr(stc, f"{hemi}_data"), stc.data)
        np.testing.assert_array_equal(dense_data(stc, forward["src"]), stc.data)
    normal = make_result(problem, sources, pick_ori="normal", verbose=False).stc
    np.testing.assert_array_equal(normal.data, (problem.source_std[:, None] * sources[0])[2::3])
    with pytest.raises(ValueError, match="eLORETA needs both hemispheres"):
        get_solver("eloreta").fit(eeg_evoked, forward, eeg_cov)
    sim = simulate_evoked(forward, eeg_info, sources=[3], rng=0, verbose="error")
    assert sim.stc.data[3].any()
    wrong = mne.SourceEstimate(np.ones((2, 1)), [np.array([0]), np.array([0])], 0, 1)
    with pytest.raises(ValueError, match="covers 2 source spaces and src 1"):
        dense_data(wrong, forward["src"])
