"""Time and memory of kronbayes against the number of time samples.

60 sensors, 8,000 sources of fixed orientation, autoregressive time courses, the Toeplitz family.
``python benchmarks/kronbayes_length.py`` prints the processor time of a sweep for each length and
the slope of both logarithms; ``--converge`` runs the longest one to the end, and ``--quick``
compares the families whose covariance a formula gives with the Toeplitz family.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy.signal import lfilter

from mne_kronbayes.kernel.loop import dugh

N_SENSORS, N_SOURCES = 60, 8000
LENGTHS = 500, 1000, 2000, 5000, 10_000


def simulate(n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Three autoregressive sources in noise of the same kind."""
    rng = np.random.default_rng(0)
    gain = rng.standard_normal((N_SENSORS, N_SOURCES))
    courses = lfilter([1], [1, -0.9], rng.standard_normal((3 + N_SENSORS, n_times)))
    active = rng.choice(N_SOURCES, 3, replace=False)
    return (gain[:, active] @ courses[:3] + courses[3:])[np.newaxis], gain


def megabytes() -> float:
    """Most memory that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_sweeps(n_times: int, n_sweeps: int, temporal: str = "toeplitz") -> float:
    """Median processor time of a sweep in seconds."""
    marks = []
    dugh(
        *simulate(n_times), temporal=temporal, max_iter=n_sweeps, tol=1e-12,
        on_sweep=lambda *_: marks.append(time.process_time()),
    )  # fmt: skip
    return np.median(np.diff(marks))


def compare_families(n_sweeps: int) -> None:
    print("| T | toeplitz | ar1 | squared-exponential |", "|---:|---:|---:|---:|", sep="\n")
    for n_times in (500, 2000, 5000):
        base = time_sweeps(n_times, n_sweeps)
        ratios = [
            f"{time_sweeps(n_times, n_sweeps, name) / base:.1f} times"
            for name in ("ar1", "squared-exponential")
        ]
        print(f"| {n_times} | {1e3 * base:.0f} ms | {' | '.join(ratios)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=10, help="sweeps to time")
    parser.add_argument("--converge", action="store_true", help="run the longest to the end")
    parser.add_argument("--quick", action="store_true", help="compare families of formulas")
    args = parser.parse_args()
    if args.quick:
        compare_families(args.sweeps)
        return
    if args.converge:
        start = time.process_time()
        result = dugh(*simulate(LENGTHS[-1]))
        seconds = time.process_time() - start
        print(
            f"T = {LENGTHS[-1]}: {len(result.cost) - 1} sweeps, converged {result.converged}, "
            f"{seconds:.0f} s of processor time, {megabytes():.0f} MB"
        )
        return
    print("| T | ms a sweep | MB |", "|---:|---:|---:|", sep="\n")
    seconds = []
    for n_times in LENGTHS:
        seconds.append(time_sweeps(n_times, args.sweeps))
        print(f"| {n_times} | {1e3 * seconds[-1]:.0f} | {megabytes():.0f} |", flush=True)
    slope = np.polyfit(np.log(LENGTHS), np.log(seconds), 1)[0]
    print(f"log-log slope: {slope:.2f}")


if __name__ == "__main__":
    main()
