"""Time of kronbayes against MNE's gamma_map and mixed_norm on one whitened problem.

300 sensors, 200 samples, free orientation, noise of unit variance; kronbayes with white time
courses and fixed noise, as in gamma_map. Printed is the processor time until the Type-II cost
stays within 1e-4 of where it ends, where that is (less the prices, with select=True), and the
time until it is as low as the end of gamma_map, whose update does not minimize it for free
orientations. mixed_norm is given alpha and stops by its own duality gap. ``--sources 20000`` is
the size to aim at.
"""

from __future__ import annotations

import argparse
import time
import warnings
from unittest import mock

import numpy as np
from mne.inverse_sparse import _gamma_map  # MNE keeps its solvers on arrays private
from mne.inverse_sparse.mxne_optim import mixed_norm_solver

from mne_kronbayes.kernel.loop import dugh

N_SENSORS, N_TIMES = 300, 200


def simulate(n_sources: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten sources on a line of smooth gains, 5 times above the noise."""
    rng = np.random.default_rng(0)
    place = np.linspace(0, 1, n_sources)
    centers, widths = rng.uniform(0, 1, (2, N_SENSORS, 3)) * [[[1]], [[0.05]]]
    gain = np.exp(-0.5 * ((place[:, None] - centers[:, None]) / (widths[:, None] + 0.01)) ** 2)
    gain += 0.1 * rng.standard_normal(gain.shape)
    gain = gain.reshape(N_SENSORS, -1)
    gain *= np.sqrt(N_SENSORS) / np.linalg.norm(gain)
    active = 3 * rng.choice(n_sources, 10, replace=False)
    field = gain[:, active] @ rng.standard_normal((10, N_TIMES))
    return 5 * field / field.std() + rng.standard_normal(field.shape), gain


def settled(seconds: list[float], costs: list[float]) -> float:
    """Seconds until the cost stays within 1e-4 of where it ends."""
    far = np.abs(np.array(costs) - costs[-1]) > 1e-4 * abs(costs[-1])
    return seconds[int(np.flatnonzero(far)[-1]) + 1]


def time_kronbayes(data, gain, **options) -> tuple[list[float], list[float]]:
    start, seconds, costs = time.process_time(), [], []

    def note(sweep, cost, n_active):
        seconds.append(time.process_time() - start)
        costs.append(cost)

    fixed = dict(temporal="identity", noise="fixed", on_sweep=note)
    dugh(data[np.newaxis], gain, 3, **fixed, **options)
    return seconds, costs


def time_gamma_map(data, gain) -> tuple[list[float], list[float]]:
    """Watch the covariance that each iteration decomposes; the cost is not on the clock."""
    decompose, seconds, costs = _gamma_map._safe_svd, [], []
    start = time.process_time()
    power = np.linalg.norm(data @ data.T)
    unit = data / np.sqrt(power)  # as gamma_map scales them

    def watched(covariance, **options):
        nonlocal start
        seconds.append(time.process_time() - start)
        fit = np.vdot(unit, np.linalg.solve(covariance, unit))
        costs.append(N_TIMES * np.linalg.slogdet(power * covariance)[1] + fit)
        start = time.process_time() - seconds[-1]
        return decompose(covariance, **options)

    with mock.patch.object(_gamma_map, "_safe_svd", watched):
        _gamma_map._gamma_map_opt(data, gain, 1.0, maxit=300, group_size=3, verbose="error")
    return seconds, costs


def time_mixed_norm(data, gain) -> float:
    start = time.process_time()
    norms = np.linalg.norm((gain.T @ data).reshape(-1, 3 * N_TIMES), axis=1)
    mixed_norm_solver(data, gain, 0.3 * norms.max(), n_orient=3, tol=1e-4, verbose="error")
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=2000, help="locations")
    args = parser.parse_args()
    data, gain = simulate(args.sources)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gamma_map stops at 300 iterations
        found = {
            "kronbayes": time_kronbayes(data, gain),
            "kronbayes, select=True": time_kronbayes(data, gain, select=True),
            "gamma_map": time_gamma_map(data, gain),
        }
        mixed = time_mixed_norm(data, gain)
    end = found["gamma_map"][1][-1]
    print(
        "| solver | s to its end | end | s to gamma_map's end |", "|:--|---:|---:|---:|", sep="\n"
    )
    for name, (seconds, costs) in found.items():
        low = np.flatnonzero(np.array(costs) <= end + 1e-4 * abs(end))
        reached = f"{seconds[low[0]]:.2f}" if len(low) else "never"
        print(f"| {name} | {settled(seconds, costs):.2f} | {costs[-1]:.0f} | {reached} |")
    print(f"| mixed_norm | {mixed:.2f} | – | – |")


if __name__ == "__main__":
    main()
