"""Problems are those of MNE in numbers, and do not depend on how the data were kept."""

import pickle

import mne
import numpy as np
import pytest
from mne.inverse_sparse.mxne_inverse import _prepare_gain
from mne.minimum_norm import apply_inverse, make_inverse_operator

from mne_invkit.estimate import make_stc
from mne_invkit.problem import prepare_problem

MINIMUM_NORM_DEPTH = dict(
    exp=0.8, limit=10.0, limit_depth_chs=True, combine_xyz="spectral", allow_fixed_depth=False
)
MEG_AND_EEG = ["mag", "grad", "eeg"]


def prepare(*args, **kwargs):
    return prepare_problem(*args, **kwargs, verbose=False)


def assert_same(problem, other):
    """Two problems are the same up to a rotation of the whitened sensors."""
    some = slice(None, None, 11)
    for key in ("gain", "data"):
        np.testing.assert_allclose(
            problem.gain[:, some].T @ np.hstack(getattr(problem, key)[None][-1:]),
            other.gain[:, some].T @ np.hstack(getattr(other, key)[None][-1:]),
        )


def minimum_norm(problem, lambda2):
    gram = problem.gain @ problem.gain.T
    return problem.gain.T @ np.linalg.solve(gram + lambda2 * np.eye(len(gram)), problem.data[0])
