"""The evidence prefers the model that made the data."""

from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.simulation.signals import time_courses
from mne_kronbayes import compare, fit_kron_bayes


@pytest.fixture(scope="module")
def fits(eeg_info, forwards):
    """Fits of smooth and of white data, by temporal covariance."""
    forward = forwards["discrete"]

    def fit(ar):
        sim = simulate_evoked(
            forward, eeg_info, sources=[5], snr_db=0, n_trials=8, tmax=0.39, rng=0, noise_ar=ar,
            time_course=partial(time_courses, kind="ar", ar=ar), verbose="error",
        )  # fmt: skip
        return {
            temporal: fit_kron_bayes(
                sim.epochs, forward, sim.noise_cov, temporal=temporal, max_iter=200, tol=1e-4
            )
            for temporal in ("identity", "ar1", "toeplitz")
        }

    return {"smooth": fit(0.8), "white": fit(0.0)}


def test_autoregressive_data_prefer_the_autoregressive_model(fits):
    scores = compare(fits["smooth"])
    assert next(iter(scores)) == "ar1"
    assert scores["ar1"].behind == 0
    assert scores["identity"].behind > 100
    assert scores["toeplitz"].evidence > scores["identity"].evidence + 100


def test_white_data_prefer_the_simplest(fits):
    scores = compare(fits["white"])
    assert next(iter(scores)) == "identity"
    assert abs(scores["ar1"].evidence - scores["identity"].evidence) < 10


def test_score_is_minus_half_the_bic(fits):
    for name, score in compare(fits["smooth"]).items():
        result = fits["smooth"][name]
        assert score.evidence == result.evidence
        bic = score.n_parameters * np.log(result.problem.data.size) - 2 * score.evidence
        assert score.score == pytest.approx(-bic / 2)
    counts = {name: fits["smooth"][name].n_parameters for name in fits["smooth"]}
    for name, extra in dict(identity=0, ar1=2, toeplitz=40).items():
        active = len(fits["smooth"][name].active)
        assert counts[name] == active + 32 + extra  # a variance for each of 32 sensors


@pytest.mark.filterwarnings("ignore:A full temporal covariance")
def test_only_what_can_be_compared_is(fits, eeg_evoked, eeg_cov, forwards):
    with pytest.raises(ValueError, match="at least one"):
        compare({})
    with pytest.raises(ValueError, match="other whitened data"):
        compare({"a": fits["smooth"]["ar1"], "b": fits["white"]["ar1"]})
    with mne.use_log_level("error"):
        part = fit_kron_bayes(eeg_evoked, forwards["discrete"], eeg_cov, temporal="full", tol=1e-2)
    with pytest.raises(ValueError, match="has no evidence"):
        compare({"full": part})
