"""What every result of learning must have, whatever the data."""

import numpy as np


def assert_sound(result, data) -> None:
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
