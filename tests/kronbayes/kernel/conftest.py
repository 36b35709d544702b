"""Simulated data that the tests of the kernel share."""

import numpy as np
import pytest
from scipy.signal import lfilter

from mne_kronbayes.kernel import sweep


@pytest.fixture(scope="session")
def simulate():
    """Simulate two sources in noise, both autoregressive in time."""

    def simulate(n_trials=3, n_sensors=12, n_locations=30, n_times=20, n_orient=1, ar=0.9,
                 noise_ar=None, noise=0.3, seed=0):  # fmt: skip
        rng = np.random.default_rng(seed)

        def courses(ar, *shape):
            white = rng.standard_normal((*shape, n_times + 100))
            return lfilter([1], [1, -ar], white)[..., 100:]

        gain = rng.standard_normal((n_sensors, n_locations * n_orient))
        active = rng.choice(n_locations, 2, replace=False)
        amplitude = np.zeros((n_trials, n_locations, n_orient, n_times))
        amplitude[:, active] = courses(ar, n_trials, 2, n_orient)
        field = gain @ amplitude.reshape(n_trials, -1, n_times)
        noise_ar = ar if noise_ar is None else noise_ar
        return field + noise * courses(noise_ar, n_trials, n_sensors), gain, active

    return simulate


@pytest.fixture(scope="session")
def in_white_noise(simulate):
    """Simulate two smooth sources in white noise."""

    def in_white_noise(**options):
        shape = dict(n_trials=4, n_sensors=16, n_locations=60, n_times=30)
        return simulate(**shape | dict(ar=0.95, noise_ar=0.0, noise=0.5) | options)

    return in_white_noise


@pytest.fixture
def take_safe_steps(monkeypatch):
    """From when it is called: take no bold steps, and switch no location off or on."""

    def take_safe_steps():
        monkeypatch.setattr(sweep, "_STRIDE", sweep._SAFE)
        monkeypatch.setattr(sweep, "_WARM_UP", 10**6)
        monkeypatch.setattr(sweep, "_PER_SENSOR", 10**6)
        monkeypatch.setattr(sweep, "admit", lambda likelihood, *_: likelihood)

    return take_safe_steps
