"""eLORETA against MNE's, against its theorem, and against its definition."""

import mne
import numpy as np
import pytest

from mne_piunet.kernel.eloreta import LAMBDAS, eloreta


def estimate(inverse, data, lambdas=LAMBDAS):
    """Estimates for each regularization."""
    return [inverse.back @ kernel @ data for kernel in inverse.filters(lambdas)]


def test_forward_columns_are_localized_exactly(whitened):
    """Zero localization error without noise: the theorem of eLORETA."""
    gain, _ = whitened
    inverse = eloreta(gain)
    columns = np.arange(1, gain.shape[1], 40)
    found = estimate(inverse, gain[:, columns], [0.05])[0].reshape(-1, 3, len(columns))
    peaks = np.linalg.norm(found, axis=1).argmax(axis=0)
    assert np.mean(peaks == columns // 3) > 0.97


@pytest.mark.parametrize("n_orient", [1, 3])
def test_equals_mne(eeg_evoked, eeg_cov, forwards, n_orient):
    """The fixed point with the same lambda; MNE scales its gain differently."""
    forward = mne.convert_forward_solution(
        forwards["surface"], surf_ori=n_orient == 1, force_fixed=n_orient == 1, verbose=False
    )
    inverse = mne.minimum_norm.make_inverse_operator(
        eeg_evoked.info, forward, eeg_cov, loose=2 * (n_orient - 1) / 4, depth=None, verbose=False,
        fixed=n_orient == 1,
    )  # fmt: skip
    stc = mne.minimum_norm.apply_inverse(
        eeg_evoked, inverse, 0.05, "eLORETA", pick_ori="vector" if n_orient == 3 else None,
        verbose=False,
    )  # fmt: skip
    whitener, _ = mne.cov.compute_whitener(eeg_cov, eeg_evoked.info, pca=True, verbose=False)
    gain = whitener @ forward["sol"]["data"]
    ours = estimate(eloreta(gain, n_orient), whitener @ eeg_evoked.data, [0.05])[0]
    theirs = stc.data.reshape(ours.shape)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


def test_regularizations_equal_their_definition(whitened):
    gain, _ = whitened
    gain = gain[:, :300]
    inverse = eloreta(gain)
    left = inverse.back @ inverse.basis.T  # W^-1 L^T
    gram = gain @ left
    np.testing.assert_allclose(np.trace(gram), len(gain), rtol=1e-6)
    data = np.random.default_rng(0).standard_normal((len(gain), 2))
    for k, lam in enumerate(LAMBDAS):
        expected = left @ np.linalg.solve(gram + lam * np.eye(len(gain)), data)
        np.testing.assert_allclose(estimate(inverse, data)[k], expected, rtol=1e-6, atol=1e-9)


def test_parts_make_no_difference(whitened, monkeypatch):
    gain, _ = whitened
    whole = eloreta(gain)
    monkeypatch.setattr("mne_piunet.kernel.eloreta._PART", 100)  # the last one is smaller
    parts = eloreta(gain)
    assert gain.shape[1] % 300
    data = gain[:, ::500]
    np.testing.assert_allclose(estimate(parts, data), estimate(whole, data), atol=1e-9)


def test_weights_are_a_fixed_point(whitened):
    """W_n^2 is L_n^T (L W^-1 L^T + lambda I)^-1 L_n up to one factor, for every source."""
    gain, _ = whitened
    inverse = eloreta(gain)
    left = inverse.back @ inverse.basis.T
    blocks = gain.T.reshape(-1, 3, len(gain))
    kernel = np.linalg.inv(gain @ left + 0.05 * np.eye(len(gain)))
    squares = blocks @ kernel @ blocks.transpose(0, 2, 1)
    weights = np.linalg.solve(
        blocks @ blocks.transpose(0, 2, 1),
        blocks @ left.reshape(-1, 3, len(gain)).transpose(0, 2, 1),
    )  # of L_n W_n^-1 = the block of `left`
    product = weights @ squares @ weights
    factor = np.trace(product, axis1=1, axis2=2) / 3
    np.testing.assert_allclose(factor, np.median(factor), rtol=0.02)
