"""The temporal covariance of the noise from a baseline."""

import mne
import numpy as np
import pytest
from scipy.linalg import toeplitz

from mne_invkit.inverse.problem import prepare_problem
from mne_invkit.simulation.evoked import simulate_evoked
from mne_kronbayes import apply_kron_bayes, fit_kron_bayes, read_kron_bayes
from mne_kronbayes.noise_epochs import noise_autocovariance


@pytest.fixture(scope="module")
def simulation(eeg_info, forwards):
    """Correlated noise with a baseline of 50 samples before a response of 30."""
    return simulate_evoked(
        forwards["surface"], eeg_info, sources=[100, 900], snr_db=5, n_trials=20, tmin=-0.5,
        tmax=0.29, noise_ar=0.7, rng=0, verbose="error",
    )  # fmt: skip


@pytest.fixture(scope="module")
def problem(simulation, forwards):
    evoked = simulation.evoked.copy().crop(0, None)
    return prepare_problem(evoked, forwards["surface"], simulation.noise_cov, verbose="error")


@pytest.fixture(scope="module")
def baseline(simulation):
    return simulation.epochs.copy().crop(None, -0.01)


def test_correlation_of_the_noise_is_recovered(baseline, problem):
    lags = noise_autocovariance(baseline, problem, 30)
    np.testing.assert_allclose(lags[:6] / lags[0], 0.7 ** np.arange(6), atol=0.05)
    assert lags[0] == pytest.approx(problem.nave, rel=0.05)  # in units of the average's noise


def test_a_short_baseline_makes_a_covariance_of_any_length(baseline, problem):
    short = baseline.copy().crop(-0.12, None)
    lags = noise_autocovariance(short, problem, 30)
    assert not lags[len(short.times) :].any()
    assert len(lags) == 30
    assert np.linalg.eigvalsh(toeplitz(lags)).min() > 0


def test_epochs_may_stand_for_the_covariance(simulation, baseline, problem, forwards):
    evoked = simulation.evoked.copy().crop(0, None)
    args = evoked, forwards["surface"], simulation.noise_cov
    options = dict(max_iter=30, tol=1e-3)
    one = apply_kron_bayes(*args, noise_temporal=baseline, **options)
    lags = noise_autocovariance(baseline, problem, 30)
    other = apply_kron_bayes(*args, noise_temporal=lags, **options)
    np.testing.assert_allclose(one.data, other.data, atol=1e-9 * other.data.max())


def test_the_evidence_prefers_the_measured_noise(simulation, baseline, forwards):
    evoked = simulation.evoked.copy().crop(0, None)
    args = evoked, forwards["surface"], simulation.noise_cov
    options = dict(noise="scalar", select=True, tol=1e-4)
    measured = fit_kron_bayes(*args, noise_temporal=baseline, **options)
    white = fit_kron_bayes(*args, noise_temporal="white", **options)
    assert measured.evidence > white.evidence + 20


def test_a_file_keeps_the_posterior_and_the_name_of_the_baseline(
    simulation, baseline, forwards, tmp_path
):
    evoked = simulation.evoked.copy().crop(0, None)
    result = fit_kron_bayes(
        evoked, forwards["surface"], simulation.noise_cov, noise_temporal=baseline, tol=1e-3
    )
    result.save(tmp_path / "fit.h5")
    again = read_kron_bayes(tmp_path / "fit.h5")
    for one, other in [(again.stc, result.stc), (again.std(), result.std())]:
        np.testing.assert_allclose(one.data, other.data, atol=1e-9 * other.data.max())
    assert "EpochsArray" in again.settings["noise_temporal"]
    assert again.settings == result.settings


def test_another_sampling_frequency_is_refused(baseline, problem):
    other = mne.EpochsArray(
        baseline.get_data(), mne.create_info(baseline.ch_names, 250.0, "eeg"), verbose="error"
    )
    with pytest.raises(ValueError, match=r"baseline\.resample\(100\)"):
        noise_autocovariance(other, problem, 30)
