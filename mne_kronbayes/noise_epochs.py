"""Temporal covariance of the noise from a baseline."""

from __future__ import annotations

import mne
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from mne_invkit.inverse.problem import InverseProblem
from mne_kronbayes.kernel.families import FLOOR


def noise_autocovariance(
    baseline: mne.BaseEpochs, problem: InverseProblem, n_times: int
) -> np.ndarray:
    """Estimate the autocovariance of noise.

    It is the mean over whitened channels and epochs. The sum at each lag is divided by the number
    of samples, not by the number of products, so that the lags form a positive definite covariance.
    Lags longer than the baseline are zero.

    Parameters
    ----------
    baseline : mne.BaseEpochs
        Noise with the channels and the sampling frequency of the data.
    problem : InverseProblem
        The prepared problem.
    n_times : int
        Number of lags.

    Returns
    -------
    autocovariance : ndarray, shape (n_times,)
        Autocovariance at each lag.
    """
    sfreq = problem.info["sfreq"]
    if not np.isclose(baseline.info["sfreq"], sfreq):
        raise ValueError(
            f"The baseline of noise_temporal is sampled at {baseline.info['sfreq']:g} Hz, the data "
            f"at {sfreq:g} Hz: call baseline.resample({sfreq:g})."
        )
    data = problem.with_data(baseline).data
    n_samples = data.shape[2]
    size = next_fast_len(2 * n_samples, real=True)
    power = np.mean(np.abs(rfft(data, size)) ** 2, axis=(0, 1))
    lags = irfft(power, size)[: min(n_samples, n_times)] / n_samples
    autocovariance = np.zeros(n_times)
    autocovariance[: len(lags)] = lags
    autocovariance[0] *= 1 + FLOOR
    return autocovariance
