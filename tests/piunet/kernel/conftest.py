"""A whitened gain."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def whitened(forwards):
    """Gain of 32 electrodes without their mean, and positions of the locations."""
    forward = forwards["surface"]
    basis = np.linalg.svd(np.eye(32) - 1 / 32)[0][:, :-1].T
    gain = basis @ forward["sol"]["data"]
    return gain / np.sqrt(np.mean(gain**2)), forward["source_rr"]
