"""Data without noise, of low rank, of any scale; gains with columns or rows that are zero."""

import numpy as np
import pytest
from pairs import grid

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import TEMPORAL

ACTIVE = 7, 30


def without_noise(n_times=20, n_trials=1, noise=0.0, scale=1.0, constant=False, n_orient=1):
    """The exact field of two sources, or such with very little noise."""
    rng = np.random.default_rng(n_times)
    gain = rng.standard_normal((16, 60 * n_orient))
    courses = rng.standard_normal((n_trials, 2, n_times))
    if constant:
        courses[:] = courses[:1, :, :1]
    fields = gain[:, np.array(ACTIVE) * n_orient]
    data = fields @ courses + noise * rng.standard_normal((n_trials, 16, n_times))
    return scale * data, gain, n_orient


SPECIAL = {
    "exact": without_noise(),
    "two samples": without_noise(2),
    "many samples": without_noise(100),
    "trials": without_noise(12, n_trials=5),
    "oriented": without_noise(n_orient=3),
    "constant": without_noise(constant=True),
    "two equal samples": without_noise(2, constant=True),
    "tiny noise": without_noise(noise=1e-7),
    "tiny": without_noise(scale=1e-6, noise=0.1),
    "huge": without_noise(scale=1e6, noise=0.1),
}


def assert_sound(result, data):
    """The cost never rises, all is finite, and no variance is negative."""
    assert np.diff(result.cost).max(initial=0) <= 1e-9 * np.abs(result.cost).max()
    covariances = result.posterior.covariances()
    for learned in (
        result.mean(data), covariances, result.source_covariance, result.noise_covariance,
        result.temporal_covariance, result.cost,
    ):  # fmt: skip
        assert np.isfinite(learned).all()
    for variances in (
        np.einsum("noot->not", covariances), result.source_variance, result.noise_variance,
        np.diag(result.temporal_covariance),
    ):  # fmt: skip
        assert variances.min() >= 0


@pytest.mark.parametrize(
    "options",
    grid(
        recording=sorted(SPECIAL),
        temporal=sorted(TEMPORAL),
        noise=sorted(NOISE),
        noise_temporal=["shared", "white"],
        learn_orient=[False, True],
        select=[False, True],
        occam=[1.0, 2.0],
    ),
)
def test_data_without_noise_are_explained(options):
    options = dict(options)
    data, gain, n_orient = SPECIAL[options.pop("recording")]
    result = dugh(data, gain, n_orient, max_iter=100, **options)
    assert_sound(result, data)
    residual = data - gain @ result.mean(data)
    known = options["noise"] == "fixed" and options["noise_temporal"] == "white"
    if not known:  # else the noise has the variance 1, whatever the data
        assert np.sum(residual**2) < 0.05 * np.sum(data**2)


@pytest.mark.parametrize("temporal", sorted(TEMPORAL))
def test_the_sources_of_an_exact_field_are_found(temporal):
    data, gain, _ = SPECIAL["exact"]
    result = dugh(data, gain, temporal=temporal)
    assert set(np.argsort(-result.source_variance)[:2]) == set(ACTIVE)
    assert result.converged


@pytest.mark.parametrize("temporal", ["identity", "toeplitz"])
@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
def test_locations_without_a_field_change_nothing(temporal, noise_temporal):
    data, gain, n_orient = without_noise(noise=0.3, n_orient=3)
    options = dict(temporal=temporal, noise_temporal=noise_temporal)
    one = dugh(data, gain, n_orient, **options)
    more = np.hstack([np.zeros((16, 6)), gain, np.zeros((16, 3))])
    other = dugh(data, more, n_orient, **options)
    np.testing.assert_allclose(other.cost[-1], one.cost[-1], rtol=1e-6)
    np.testing.assert_array_equal(other.active, one.active + 2)


def test_two_sensors_alike_and_one_without_a_field():
    data, gain, _ = without_noise(noise=0.1)
    data, gain = data.copy(), gain.copy()
    data[:, 1], gain[1] = data[:, 0], gain[0]
    data[:, 3], gain[3] = 0, 0
    for noise in sorted(NOISE):
        result = dugh(data, gain, noise=noise)
        assert_sound(result, data)
        assert set(ACTIVE) <= set(result.active)
