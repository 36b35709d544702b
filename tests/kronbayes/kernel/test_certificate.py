"""The cost never rises, whatever the options: the certificate of majorization-minimization."""

import numpy as np
import pytest
from pairs import grid
from scipy.signal import butter, sosfiltfilt

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE
from mne_kronbayes.kernel.temporal import TEMPORAL


@pytest.fixture(scope="module")
def recordings(simulate):
    """Data, gain and options of recordings that have something special, by name."""
    data, gain, _ = simulate(n_trials=1, n_sensors=40, n_times=60, ar=0.0)
    oriented = simulate(n_orient=3, n_trials=1)[:2]
    return {
        "trials": (*simulate()[:2], {}),
        "few samples": (*simulate(n_trials=1, n_times=3)[:2], {}),
        "low-passed": (sosfiltfilt(butter(8, 0.1, output="sos"), data), gain, {}),
        "three components": (*oriented, dict(n_orient=3)),
        "orientations": (*oriented, dict(n_orient=3, learn_orient=True)),
    }


@pytest.fixture(autouse=True)
def every_step_is_taken(monkeypatch):
    """Take the guard against rounding away, so that a step that raises the cost is seen."""
    monkeypatch.setattr("mne_kronbayes.kernel.sweep._lower", lambda now, following: following)


@pytest.mark.parametrize(
    "options",
    grid(
        recording=["trials", "few samples", "low-passed", "three components", "orientations"],
        temporal=sorted(TEMPORAL),
        noise=sorted(NOISE),
        noise_temporal=["shared", "white", "lags"],
        occam=[1.0, 2.0],
        select=[False, True],
    ),
)
def test_the_cost_never_rises(options, recordings):
    options = dict(options)
    data, gain, more = recordings[options.pop("recording")]
    if options["noise_temporal"] == "lags":
        options["noise_temporal"] = 0.3 ** np.arange(data.shape[2])
    result = dugh(data, gain, max_iter=60, tol=1e-12, **options, **more)
    steps = np.diff(result.cost)
    assert len(steps) >= 5
    assert steps.max() <= 1e-9 * np.abs(result.cost).max()
    assert steps[0] < 0
    for learned in (result.mean(data), result.source_variance, result.temporal_covariance):
        assert np.isfinite(learned).all()
