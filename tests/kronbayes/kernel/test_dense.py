"""Majorization-minimization alone, against the dense matrices of the paper."""

import numpy as np
import pytest
from scipy.fft import next_fast_len
from scipy.linalg import inv, sqrtm

from mne_kronbayes.kernel.families import FLOOR
from mne_kronbayes.kernel.loop import dugh
from mne_kronbayes.kernel.noise import NOISE


def dense_sweeps(data, gain, n_orient, temporal, noise, basis, n_sweeps):
    """Majorization-minimization with every covariance a kron product, as the paper states it."""
    n_trials, n_sensors, n_times = data.shape
    share = 0.5 * np.mean(data**2) * n_sensors
    n_locations = gain.shape[1] // n_orient
    gamma = np.full(n_locations, share / np.sum(gain**2))
    lam = np.ones(basis.shape[1]) if noise == "fixed" else share / np.sum(basis**2)
    lam = lam * np.ones(basis.shape[1])
    given, dense_noise = basis @ basis.T, (basis * lam) @ basis.T
    blocks = [gain[:, n_orient * k : n_orient * (k + 1)] for k in range(n_locations)]
    sensors = [b @ b.T for b in blocks], [np.outer(p, p) for p in basis.T]
    y = data.reshape(n_trials, -1)
    cov = np.eye(n_times)
    size = next_fast_len(2 * n_times - 1, real=True)
    waves = np.exp(2j * np.pi * np.outer(np.arange(n_times), np.arange(size)) / size)
    waves /= np.sqrt(size)
    p = np.ones(size) / (1 + FLOOR)
    s = np.eye(n_times) / (1 + FLOOR)
    costs = []

    def moments(sigma, cov, spatial, in_time):
        """Slope of log-determinant and of the quadratic term along spatial x in_time."""
        inverse = inv(np.kron(sigma, cov))
        part = np.kron(spatial, in_time)
        solved = y @ inverse
        return np.trace(inverse @ part), np.sum((solved @ part) * solved) / n_trials

    for sweep in range(n_sweeps + 1):
        sigma = sum(g * a for g, a in zip(gamma, sensors[0], strict=True))
        if noise != "full":
            dense_noise = (basis * lam) @ basis.T
        sigma = sigma + dense_noise
        whole = np.kron(sigma, cov)
        fit = np.einsum("gi,ij,gj->", y, inv(whole), y) / n_trials
        costs.append(np.linalg.slogdet(whole)[1] + fit)
        if noise == "full":  # baseline, whose scale is learned
            level = n_sensors / np.trace(inv(dense_noise) @ given)
            fit = level * np.trace(inv(dense_noise) @ given) - n_sensors * np.log(level)
            weight = 4 * (1 + n_sensors / (n_trials * n_times))
            costs[-1] += weight * n_times * (np.linalg.slogdet(dense_noise)[1] + fit)
        if sweep == n_sweeps:
            break
        if temporal == "toeplitz":
            white = np.eye(n_times) * FLOOR / size
            parts = [np.real(np.outer(q, q.conj())) + white for q in waves.T]
            slopes = np.array([moments(sigma, cov, sigma, a) for a in parts])
            p = p * np.sqrt(slopes[:, 1] / slopes[:, 0])
            cov = np.real(waves * p @ waves.conj().T) + FLOOR * p.mean() * np.eye(n_times)
        elif temporal == "full":
            inverse = inv(cov)
            second = sum(d.T @ inv(sigma) @ d for d in data) / (n_sensors * n_trials)
            a, c = inverse, inverse @ second @ inverse
            a, c = (x + FLOOR / n_times * np.trace(x) * np.eye(n_times) for x in (a, c))
            root = np.real(sqrtm(a))
            s = inv(root) @ np.real(sqrtm(root @ s @ c @ s @ root)) @ inv(root)
            cov = s + FLOOR / n_times * np.trace(s) * np.eye(n_times)
        slopes = [np.array([moments(sigma, cov, a, cov) for a in part]) for part in sensors]
        gamma = gamma * np.sqrt(slopes[0][:, 1] / slopes[0][:, 0])
        if noise == "diagonal":
            lam = lam * np.sqrt(slopes[1][:, 1] / slopes[1][:, 0])
        if noise == "full":
            inverse = inv(sigma)
            second = sum(d @ inv(cov) @ d.T for d in data) / (n_times * n_trials)
            a = inverse + weight * inv(dense_noise)
            c = dense_noise @ inverse @ second @ inverse @ dense_noise + weight * level * given
            root = np.real(sqrtm(a))
            dense_noise = inv(root) @ np.real(sqrtm(root @ c @ root)) @ inv(root)
        if noise == "scalar":
            lam = lam * np.sqrt(slopes[1][:, 1].sum() / slopes[1][:, 0].sum())
        if noise != "fixed":
            scale = np.trace(cov) / n_times
            cov, p, s, gamma, lam = cov / scale, p / scale, s / scale, scale * gamma, scale * lam
            dense_noise = scale * dense_noise
    prior = np.kron(np.diag(np.repeat(gamma, n_orient)), cov)
    kernel = prior @ np.kron(gain, np.eye(n_times)).T @ inv(np.kron(sigma, cov))
    mean = (y @ kernel.T).reshape(n_trials, -1, n_times)
    if noise == "full":
        lam = np.diag(dense_noise)
    return gamma, lam, cov, np.array(costs), mean


@pytest.mark.parametrize("noise", sorted(NOISE))
@pytest.mark.parametrize("temporal", ["identity", "full", "toeplitz"])  # others: test_temporal.py
@pytest.mark.parametrize("n_orient", [1, 3])
def test_updates_equal_those_of_dense_kron_products(
    temporal, noise, n_orient, simulate, take_safe_steps
):
    data, gain, _ = simulate(
        n_trials=6, n_sensors=4, n_locations=5, n_times=6, n_orient=n_orient, seed=1
    )
    basis = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 4)))[0].T
    take_safe_steps()
    result = dugh(
        data, gain, n_orient, temporal=temporal, noise=noise, noise_basis=basis, max_iter=4,
        tol=1e-15,
    )  # fmt: skip
    gamma, lam, cov, costs, mean = dense_sweeps(
        data, gain, n_orient, temporal, noise, basis, n_sweeps=4
    )
    np.testing.assert_allclose(result.cost, costs, rtol=1e-8)
    np.testing.assert_allclose(result.source_variance, gamma, rtol=1e-8)
    np.testing.assert_allclose(result.noise_variance, lam, rtol=1e-8)
    np.testing.assert_allclose(result.temporal_covariance, cov, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(result.mean(data), mean, rtol=1e-8, atol=1e-10)


def test_white_time_and_fixed_noise_are_sparse_bayesian_learning(simulate, take_safe_steps):
    data, gain, active = simulate(ar=0.0)
    take_safe_steps()
    result = dugh(data, gain, temporal="identity", noise="fixed", max_iter=15, tol=1e-15)
    gamma = np.full(gain.shape[1], 0.5 * np.mean(data**2) * len(gain) / np.sum(gain**2))
    samples = np.concatenate(list(data), axis=1)
    for _ in range(15):  # Wipf & Nagarajan (2009), convexity bound
        precision = inv(gain @ np.diag(gamma) @ gain.T + np.eye(len(gain)))
        mean = np.diag(gamma) @ gain.T @ precision @ samples
        sensitivity = np.einsum("mn,mk,kn->n", gain, precision, gain)
        gamma = np.sqrt(np.mean(mean**2, axis=1) / sensitivity)
    np.testing.assert_allclose(result.source_variance, gamma, rtol=1e-6)
    assert set(np.argsort(-gamma)[:2]) == set(active)
