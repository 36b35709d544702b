"""Recordings and fits that the tests of kronbayes share; do not change them in place."""

import pytest
from recordings import read_auditory

from mne_invkit.simulation.evoked import simulate_evoked
from mne_kronbayes import fit_kron_bayes


@pytest.fixture(scope="session")
def simulation(eeg_info, forwards):
    """Two cortical sources in noise, 8 trials of 30 samples."""
    return simulate_evoked(
        forwards["surface"], eeg_info, sources=[100, 900], snr_db=10, n_trials=8, tmax=0.29, rng=0,
        verbose="error",
    )  # fmt: skip


@pytest.fixture(scope="session")
def given(simulation, forwards):
    """Average, forward solution and noise covariance: what a solver is given."""
    return simulation.evoked, forwards["surface"], simulation.noise_cov


@pytest.fixture(scope="session")
def fitted(given):
    """The fit with the default settings."""
    return fit_kron_bayes(*given)


@pytest.fixture(scope="session")
def sample_subject(shared_data):
    """Real response to tones in the right ear, a volume of 10 mm, and the noise covariance."""
    evokeds, forward, noise_cov = read_auditory(shared_data, pos=10.0)
    return evokeds["right"], forward, noise_cov
