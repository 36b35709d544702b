"""Real MEG and EEG of few averages, with SSP projectors and bad channels: the sample subject."""

import mne
import numpy as np
import pytest

from mne_kronbayes import fit_kron_bayes

CORTEX = np.array([[-0.050, 0.012, 0.062], [0.052, 0.012, 0.062]])  # head frame


@pytest.fixture(scope="module")
def recording(shared_data):
    """Response to tones in the right ear, and its noise covariance."""
    folder = shared_data / "sample_subject"
    evoked = mne.read_evokeds(folder / "sample_auditory-ave.fif.gz", verbose="error")[1]
    evoked.info["bads"] = ["EEG 053", "MEG 2443"]
    evoked.apply_baseline((None, 0), verbose="error")
    return evoked, mne.read_cov(folder / "sample-cov.fif", verbose="error")


@pytest.fixture(scope="module")
def heads(shared_data, recording):
    """Forward solutions of a volume and of the same places as discrete sources."""
    folder = shared_data / "sample_subject"
    bem = mne.read_bem_solution(folder / "sample-320-320-320-bem-sol.fif", verbose="error")
    volume = mne.setup_volume_source_space(
        pos=12.0, surface=folder / "inner_skull.surf", mindist=5.0, add_interpolator=False,
        verbose="error",
    )  # fmt: skip
    used = volume[0]["vertno"]
    discrete = mne.setup_volume_source_space(
        pos=dict(rr=volume[0]["rr"][used], nn=volume[0]["nn"][used]), verbose="error"
    )
    return {
        kind: mne.make_forward_solution(
            recording[0].info, folder / "sample-trans.fif", src, bem, verbose="error"
        )
        for kind, src in dict(volume=volume, discrete=discrete).items()
    }


def distances(result):
    """From each cortex to the nearest of the three sources that explain most sensor variance."""
    places = np.array([dipole.pos[0] for dipole in result.dipoles(3)])
    return np.linalg.norm(places - CORTEX[:, None], axis=2).min(axis=1)


@pytest.mark.parametrize("kind", ["volume", "discrete"])
def test_meg_finds_the_auditory_cortex_of_both_sides(kind, recording, heads):
    evoked, cov = recording
    part = evoked.copy().pick("meg").crop(0.08, 0.12)
    result = fit_kron_bayes(part, heads[kind], cov, verbose="error")
    assert distances(result).max() < 0.02


def test_measured_noise_leaves_few_sources_in_the_right_places(recording, heads):
    evoked, cov = recording
    before = evoked.copy().crop(None, -0.002)
    baseline = mne.EpochsArray(
        before.data[np.newaxis], before.info, tmin=before.tmin, verbose="error"
    )
    result = fit_kron_bayes(
        evoked.copy().pick("meg").crop(0.08, 0.12), heads["volume"], cov, noise="scalar",
        noise_temporal=baseline, select=True, verbose="error",
    )  # fmt: skip
    assert len(result.active) <= 20
    assert distances(result).max() < 0.02
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()


@pytest.mark.parametrize(
    ("kinds", "lost"), [(["eeg"], 1), (["mag"], 3), (["grad"], 0), (["mag", "grad", "eeg"], 4)]
)
def test_any_sensors_of_reduced_rank(kinds, lost, recording, heads):
    """Projectors of the magnetometers and the average reference take their dimensions."""
    evoked, cov = recording
    part = evoked.copy().pick(kinds).crop(0.08, 0.12)
    result = fit_kron_bayes(part, heads["volume"], cov, tol=1e-4, verbose="error")
    n_rank, n_channels = result.problem.whitener.shape
    assert n_rank == n_channels - lost
    assert np.isfinite(result.stc.data).all()
    assert result.explained_variance > 20
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    projected = result.noise_cov.data @ result.problem.projector
    np.testing.assert_allclose(projected, result.noise_cov.data, atol=1e-6 * projected.max())
