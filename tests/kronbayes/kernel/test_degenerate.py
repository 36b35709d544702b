"""Data without noise, of low rank, of any scale; gains with columns or rows that are zero."""

import numpy as np
import pytest
from pairs import all_pairs
from soundness import assert_sound

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
    "huge": without_noise(scale=1e4, noise=0.1),
}


@pytest.mark.parametrize(
    "options",
    all_pairs(
        dict(
            recording=sorted(SPECIAL),
            temporal=sorted(TEMPORAL),
            noise=sorted(NOISE),
            noise_temporal=["shared", "white"],
            learn_orient=[False, True],
            select=[False, True],
            occam=[1.0, 2.0],
        )
    ),
    ids=lambda options: "-".join(map(str, options.values())),
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


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40])
def test_scales_that_single_precision_does_not_hold(scale, simulate):
    """Of so many locations that their slopes are computed in it; one is hardly seen."""
    data, gain, active = simulate(n_locations=5000, ar=0.0)
    gain[:, 4999] *= 1e-200
    options = dict(temporal="identity", noise="scalar")
    one, other = dugh(data, gain, **options), dugh(data, scale * gain, **options)
    np.testing.assert_allclose(other.cost, one.cost, rtol=1e-6)
    assert set(np.argsort(-other.source_variance)[:2]) == set(active)


@pytest.mark.parametrize("noise_temporal", ["shared", "white"])
def test_fixed_noise_that_data_cannot_have_is_refused(noise_temporal, simulate):
    data, gain, _ = simulate()
    options = dict(noise_temporal=noise_temporal, max_iter=5)
    dugh(1e6 * data, gain, **options)
    with pytest.raises(ValueError, match=r'noise="fixed".*e-1\d of the power .*"scalar"'):
        dugh(1e6 * data, gain, noise="fixed", **options)


def test_a_step_that_raises_the_cost_is_not_taken(simulate):
    class Astray(TEMPORAL["toeplitz"]):
        def update(self, rows, solved):
            return super().update(rows, 3 * solved)

    data, gain, _ = simulate()
    result = dugh(data, gain, temporal=Astray)
    assert_sound(result, data)
    assert result.cost[-1] < result.cost[0]


def test_a_singular_covariance_is_told_in_a_sentence(simulate):
    class Singular(TEMPORAL["toeplitz"]):
        def update(self, rows, solved):
            np.linalg.cholesky(np.zeros((2, 2)))

    data, gain, _ = simulate()
    with pytest.raises(ValueError, match=r"singular in sweep 1: .*Leave out sensors"):
        dugh(data, gain, temporal=Singular)
