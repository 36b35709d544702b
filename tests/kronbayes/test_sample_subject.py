"""Real MEG and EEG of few averages, with SSP projectors and bad channels: the sample subject."""

import mne
import numpy as np
import pytest

from mne_kronbayes import fit_kron_bayes

CORTEX = np.array([[-0.050, 0.012, 0.062], [0.052, 0.012, 0.062]])  # head frame


def distances(result):
    """From each cortex to the nearest of the three sources that explain most sensor variance."""
    places = np.array([dipole.pos[0] for dipole in result.dipoles(3)])
    return np.linalg.norm(places - CORTEX[:, None], axis=2).min(axis=1)


@pytest.mark.parametrize(
    ("kinds", "window"), [(["meg"], (0.08, 0.12)), (["meg", "eeg"], (0.06, 0.13))]
)
def test_the_auditory_cortex_of_both_sides_is_found(kinds, window, sample_subject):
    evoked, forward, cov = sample_subject
    part = evoked.copy().pick(kinds).crop(*window)
    result = fit_kron_bayes(part, forward, cov, verbose="error")
    assert distances(result).max() < 0.02


def test_measured_noise_leaves_few_sources_in_the_right_places(sample_subject):
    evoked, forward, cov = sample_subject
    before = evoked.copy().crop(None, -0.002)
    baseline = mne.EpochsArray(
        before.data[np.newaxis], before.info, tmin=before.tmin, verbose="error"
    )
    result = fit_kron_bayes(
        evoked.copy().pick("meg").crop(0.08, 0.12), forward, cov, noise="scalar",
        noise_temporal=baseline, select=True, tol=1e-4, verbose="error",
    )  # fmt: skip
    assert len(result.active) <= 20
    assert distances(result).max() < 0.02
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()


@pytest.mark.parametrize(
    ("kinds", "lost"), [(["eeg"], 1), (["mag"], 3), (["grad"], 0), (["mag", "grad", "eeg"], 4)]
)
def test_any_sensors_of_reduced_rank(kinds, lost, sample_subject):
    """Projectors of the magnetometers and the average reference take their dimensions."""
    evoked, forward, cov = sample_subject
    part = evoked.copy().pick(kinds).crop(0.08, 0.12)
    result = fit_kron_bayes(part, forward, cov, tol=1e-4, verbose="error")
    n_rank, n_channels = result.problem.whitener.shape
    assert n_rank == n_channels - lost
    assert np.isfinite(result.stc.data).all()
    assert result.explained_variance > 20
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    projected = result.noise_cov.data @ result.problem.projector
    np.testing.assert_allclose(projected, result.noise_cov.data, atol=1e-6 * projected.max())
