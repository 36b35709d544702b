"""Learned orientations: certificate, minimum, limiting case."""

import numpy as np
import pytest
from pairs import grid
from scipy.linalg import inv

from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE


def oriented(seed=0):
    """Two white sources of one orientation each, any, in noise."""
    rng = np.random.default_rng(seed)
    active = rng.choice(30, 2, replace=False)
    gain = rng.standard_normal((40, 30, 3))
    axes = rng.standard_normal((30, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    fields = np.einsum("mni,ni->mn", gain[:, active], axes[active])
    data = fields @ rng.standard_normal((3, 2, 50)) + 0.3 * rng.standard_normal((3, 40, 50))
    return data, gain.reshape(40, -1), active, axes


@pytest.mark.parametrize(
    "options",
    grid(
        temporal=["identity", "toeplitz"],
        noise=sorted(NOISE),
        noise_temporal=["shared", "white"],
        occam=[1.0, 1.5],
    ),
)
def test_the_orientations_of_sources_are_found(options):
    """With a lower cost than that of components which share one variance."""
    data, gain, active, axes = oriented()
    if options["noise"] == "fixed":
        options = options | dict(noise_basis=0.3 * np.eye(len(gain)))
    options = options | dict(tol=1e-4)
    alike = dugh(data, gain, 3, **options)
    result = dugh(data, gain, 3, learn_orient=True, max_iter=1000, **options)
    assert result.converged
    assert len(result.cost) > len(alike.cost) + 5
    assert np.diff(result.cost).max() <= 1e-9 * np.abs(result.cost).max()
    assert result.cost[-1] < alike.cost[-1] - 10
    for k in active:
        covariance = result.source_covariance[result.active == k][0]
        along = axes[k] @ covariance @ axes[k]
        assert along > 0.98 * np.trace(covariance)
        assert result.source_variance[k] == pytest.approx(np.trace(covariance) / 3)


def test_learned_orientations_are_a_minimum_of_the_cost():
    data, gain, active, axes = oriented()
    options = dict(temporal="identity", noise="fixed", noise_basis=0.3 * np.eye(len(gain)))
    alike = dugh(data, gain, 3, **options)
    result = dugh(data, gain, 3, learn_orient=True, tol=1e-8, max_iter=2000, **options)

    def cost(covariances):
        blocks = gain.reshape(len(gain), -1, 3)[:, result.active]
        field = np.einsum("mni,nij,onj->mo", blocks, covariances, blocks)
        sigma = field + 0.09 * np.eye(len(gain))
        moment = np.einsum("gmt,gnt->mn", data, data) / len(data)
        return data.shape[2] * np.linalg.slogdet(sigma)[1] + np.vdot(inv(sigma), moment)

    found = result.source_covariance
    best = cost(found)
    assert best == pytest.approx(result.cost[-1], rel=1e-6)
    rng = np.random.default_rng(5)
    for _ in range(50):
        change = np.eye(3) + 0.05 * rng.standard_normal(found.shape)
        assert cost(change @ found @ change.transpose(0, 2, 1)) > best - 1e-6 * abs(best)
    for k in active:
        spread = []
        for fit in (alike, result):
            vectors = fit.mean(data).reshape(len(data), -1, 3, data.shape[2])[:, k]
            along = np.einsum("i,git->gt", axes[k], vectors)
            spread.append(1 - np.sum(along**2) / np.sum(vectors**2))
        assert spread[1] < 0.1 * spread[0]


def test_with_one_orientation_there_is_none_to_learn():
    data, gain, *_ = oriented()
    one, other = dugh(data, gain), dugh(data, gain, learn_orient=True)
    np.testing.assert_array_equal(one.mean(data), other.mean(data))
    assert one.n_parameters == other.n_parameters


def test_a_silent_orientation_stays_without_harm():
    """As that along the radius of a sphere is to MEG; and a source of one orientation counts 3."""
    data, gain, active, _ = oriented()
    gain.reshape(40, -1, 3)[..., 2] = 0
    result = dugh(data, gain, 3, temporal="identity", noise="fixed", learn_orient=True)
    assert np.isfinite(result.mean(data)).all()
    assert set(active) <= set(result.active)
    ranks = np.linalg.matrix_rank(result.source_covariance, tol=1e-8, hermitian=True)
    assert result.n_parameters == sum({1: 3, 2: 5, 3: 6}[rank] for rank in ranks)
