"""What a result can tell: uncertainty, pictures, text, files."""

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
from parts import ask_for_all, the_same
from recordings import CENTER
from scipy.linalg import block_diag

from mne_invkit.simulation.evoked import simulate_evoked
from mne_kronbayes import fit_kron_bayes, read_kron_bayes


@pytest.fixture(scope="module")
def vectors(given):
    return fit_kron_bayes(*given, pick_ori="vector")


# %% Uncertainty


def dense_posterior(problem, learned):
    """Mean and covariance of all sources of the first trial, from one large Gaussian."""
    n_orient, n_times = problem.n_orient, problem.data.shape[2]
    blocks = np.zeros((len(learned.source_variance), n_orient, n_orient))
    blocks[learned.active] = learned.source_covariance
    prior = block_diag(*blocks)
    gain, time = problem.gain, learned.temporal_covariance
    sigma = gain @ prior @ gain.T + learned.noise_covariance
    cross = np.kron(prior @ gain.T, time)
    solved = np.linalg.solve(np.kron(sigma, time), np.c_[problem.data[0].ravel(), cross.T])
    mean = (cross @ solved[:, 0]).reshape(-1, n_times)
    covariance = np.kron(prior, time) - cross @ solved[:, 1:]
    covariance = covariance.reshape(
        -1, n_orient, n_times, len(prior) // n_orient, n_orient, n_times
    )
    return mean, np.einsum("notnpt->nopt", covariance)


@pytest.mark.parametrize("learn_orient", [False, True])
@pytest.mark.parametrize("kind", ["fixed", "normal", "vector", "magnitude"])
def test_std_is_that_of_the_dense_posterior(kind, learn_orient, eeg_info, forwards):
    forward, loose = forwards["discrete"], "auto"
    if kind == "fixed":
        forward = mne.convert_forward_solution(
            forward, surf_ori=True, force_fixed=True, verbose="error"
        )
        loose = 0.0
    sim = simulate_evoked(forward, eeg_info, sources=[5], tmax=0.04, rng=0, verbose="error")
    pick_ori = kind if kind in ("normal", "vector") else None
    result = fit_kron_bayes(
        sim.evoked, forward, sim.noise_cov, loose=loose, pick_ori=pick_ori, max_iter=100, tol=1e-2,
        learn_orient=learn_orient,
    )  # fmt: skip
    problem = result.problem
    mean, covariance = dense_posterior(problem, result.learned)
    np.testing.assert_allclose(
        result.learned.mean(problem.data)[0], mean, atol=1e-7 * np.abs(mean).max()
    )
    std = problem.source_std.reshape(60, -1)
    covariance = covariance * (std[:, :, None] * std[:, None])[..., None]
    if kind == "vector":
        axes = problem.forward["source_nn"].reshape(60, 3, 3)
        expected = [
            [np.diag(a.T @ c[..., t] @ a) for t in range(c.shape[2])]
            for a, c in zip(axes, covariance, strict=True)
        ]
        expected = np.transpose(expected, (0, 2, 1))
    else:
        expected = np.einsum("noot->not", covariance)
        expected = expected[:, 2] if kind == "normal" else expected.sum(axis=1)
    found = result.std()
    assert type(found) is type(result.stc)
    np.testing.assert_allclose(found.data**2, expected, atol=1e-6 * expected.max())


def test_intervals_are_gaussian_and_nested(vectors):
    half, wide = vectors.interval(0.5), vectors.interval(0.95)
    active = vectors.active
    std = vectors.std().data[active]
    np.testing.assert_allclose(half[1].data[active] - half[0].data[active], 2 * 0.6745 * std, 1e-3)
    np.testing.assert_allclose(wide[1].data[active] - wide[0].data[active], 2 * 1.96 * std, 1e-3)
    middle = (wide[0].data + wide[1].data) / 2
    np.testing.assert_allclose(middle, vectors.stc.data, atol=1e-12 * np.abs(middle).max())
    assert type(wide[0]) is mne.VectorSourceEstimate


def test_trials_that_are_not_there_are_told(vectors):
    for ask in (vectors.dipoles, vectors.interval):
        for trial in (1, -1, "left"):
            with pytest.raises(
                ValueError, match=f"trial must be a number from 0 to 0, got {trial!r}"
            ):
                ask(trial=trial)
    with pytest.raises(ValueError, match="n_dipoles must be at least 1"):
        vectors.dipoles(0)


def test_intervals_need_signs_and_a_level(fitted, vectors):
    with pytest.raises(ValueError, match='pick_ori="vector"'):
        fitted.interval()
    with pytest.raises(ValueError, match="between 0 and 1"):
        vectors.interval(95)


def test_evidence_is_the_likelihood_of_the_data(fitted):
    problem, learned = fitted.problem, fitted.learned
    prior = np.repeat(learned.source_variance, problem.n_orient)
    sigma = (problem.gain * prior) @ problem.gain.T + learned.noise_covariance
    time = learned.temporal_covariance
    data = problem.data[0]
    quadratic = np.sum(np.linalg.solve(sigma, data) * np.linalg.solve(time, data.T).T)
    log_det = len(time) * np.linalg.slogdet(sigma)[1] + len(sigma) * np.linalg.slogdet(time)[1]
    expected = -(quadratic + log_det + data.size * np.log(2 * np.pi)) / 2
    assert fitted.evidence == pytest.approx(expected, rel=1e-6)


# %% Pictures and text


def test_pictures_show_what_was_learned(fitted):
    convergence = fitted.plot_convergence()
    np.testing.assert_array_equal(convergence.axes[0].lines[0].get_ydata(), fitted.cost)
    time = fitted.plot_temporal_covariance()
    np.testing.assert_allclose(time.axes[0].images[0].get_array(), fitted.temporal_covariance)
    correlation = time.axes[1].lines[1].get_ydata()
    expected = fitted.temporal_covariance[0] / fitted.temporal_covariance[0, 0]
    np.testing.assert_allclose(correlation, expected, atol=1e-9)
    plt.close("all")


def test_text_names_the_figures(fitted):
    assert f"{len(fitted.active)} of 1216" in repr(fitted)
    for one in (fitted, fitted.learned, fitted.learned.posterior, fitted.problem):
        assert len(repr(one)) < 200
    html = fitted._repr_html_()
    assert html.startswith("<table")
    assert f"{fitted.explained_variance:.1f} %" in html
    assert "toeplitz" in html


def test_a_report_gets_the_temporal_covariance(fitted):
    (title,), (figure,) = zip(*fitted.figures().items(), strict=True)
    assert title == "temporal covariance"
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), fitted.temporal_covariance)
    plt.close("all")


# %% Files


def small_volume(info, sphere):
    """A volume without the MRI of the template."""
    src = mne.setup_volume_source_space(
        pos=25.0, sphere=(*CENTER, 0.08), sphere_units="m", verbose="error"
    )
    return mne.make_forward_solution(info, None, src, sphere, verbose="error")


def same(one, other):
    assert isinstance(other, type(one))  # EvokedArray is read as Evoked
    np.testing.assert_allclose(one.data, other.data, atol=1e-12 * np.abs(other.data).max())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("surface", {}),
        ("volume", dict(learn_orient=True, noise_temporal="white")),
        ("discrete", dict(noise_temporal=0.3 ** np.arange(20))),
        ("mixed", dict(temporal="full", noise="scalar")),
    ],
)
@pytest.mark.filterwarnings("ignore:A full temporal covariance")
def test_a_file_gives_back_all(kind, options, eeg_info, forwards, sphere, tmp_path):
    forward = forwards[kind] if kind != "volume" else small_volume(eeg_info, sphere)
    sim = simulate_evoked(forward, eeg_info, sources=[7], tmax=0.19, rng=0, verbose="error")
    result = fit_kron_bayes(sim.evoked, forward, sim.noise_cov, pick_ori="vector", **options)
    result.save(tmp_path / "fit.h5")
    again = read_kron_bayes(tmp_path / "fit.h5")
    same(again.stc, result.stc)
    same(again.std(), result.std())
    same(again.residual, result.residual)
    same(again.noise_cov, result.noise_cov)
    for one, other in zip(again.stc.vertices, result.stc.vertices, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(again.stc.times, result.stc.times)
    assert again.stc.subject == result.stc.subject
    np.testing.assert_array_equal(again.cost, result.cost)
    np.testing.assert_array_equal(again.source_variance, result.source_variance)
    np.testing.assert_allclose(again.temporal_covariance, result.temporal_covariance)
    assert again.explained_variance == pytest.approx(result.explained_variance)
    assert again.evidence == pytest.approx(result.evidence, nan_ok=True)
    assert again.converged is True
    assert again.code == result.code
    assert again.settings.keys() == result.settings.keys()
    for name, value in result.settings.items():
        np.testing.assert_array_equal(again.settings[name], value)
    assert repr(again) == repr(result)
    for one, other in zip(again.dipoles(2), result.dipoles(2), strict=True):
        np.testing.assert_allclose(one.pos, other.pos)
        np.testing.assert_allclose(one.amplitude, other.amplitude)


def insts(simulation):
    """All kinds of data, by name."""
    evoked, epochs = simulation.evoked, simulation.epochs
    raw = mne.io.RawArray(np.hstack(epochs.get_data()[:2]), epochs.info, first_samp=9)
    return {
        "evoked": evoked, "list": [evoked, evoked], "list of one": [evoked], "epochs": epochs,
        "one epoch": epochs[:1], "raw": raw,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "pick_ori"),
    [
        ("evoked", "normal"), ("list", "vector"), ("list of one", "normal"), ("epochs", "vector"),
        ("one epoch", "normal"), ("raw", "vector"),
    ],
)  # fmt: skip
def test_all_that_a_fit_can_be_asked_for_comes_back(name, pick_ori, simulation, forwards, tmp_path):
    result = fit_kron_bayes(
        insts(simulation)[name], forwards["surface"], simulation.noise_cov, tol=1e-2,
        pick_ori=pick_ori, sparse=name == "list", buffer_size=20,
    )  # fmt: skip
    result.save(tmp_path / "fit.h5")
    expected, found = ask_for_all(result), ask_for_all(read_kron_bayes(tmp_path / "fit.h5"))
    for part in expected:
        the_same(expected[part], found[part])
    assert expected["settings"] == found["settings"]


def test_files_are_not_overwritten_by_chance(fitted, tmp_path):
    fitted.save(tmp_path / "fit.h5")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        fitted.save(tmp_path / "fit.h5")
    fitted.save(tmp_path / "fit.h5", overwrite=True)
    with pytest.raises(ValueError, match=r"must end with \.h5"):
        fitted.save(tmp_path / "fit.fif")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_kron_bayes(tmp_path / "other.h5")
