"""How often credible intervals of kronbayes hold the truth.

Three cortical sources of fixed orientation in 64 electrodes, white noise, the forward solution
of the truth. ``python benchmarks/kronbayes_coverage.py`` prints, for each signal-to-noise ratio,
the share of samples of the true sources within intervals of 50, 80 and 95 %: of all true
sources, and of those that the solver found at their very place.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial

import mne
import numpy as np

from mne_invkit.heads.template import template_forward
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.simulation.signals import time_courses
from mne_kronbayes import fit_kron_bayes

LEVELS = 0.5, 0.8, 0.95
SNRS = 0, 10, 20
OPTIONS = dict(noise="scalar", noise_temporal="white", select=True, loose=0.0)


def coverage(sim, forward) -> dict[str, list[float]]:
    """Share of the true samples within each interval, of all true sources and of those found."""
    result = fit_kron_bayes(sim.evoked, forward, sim.noise_cov, **OPTIONS)
    truth = sim.stc.data[sim.sources]
    inside = []
    for level in LEVELS:
        lower, upper = (bound.data[sim.sources] for bound in result.interval(level))
        inside.append((lower <= truth) & (truth <= upper))
    found = np.isin(sim.sources, result.active)
    inside = np.array(inside)
    return {"all": inside, "found": inside[:, found]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="repetitions")
    args = parser.parse_args()
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    with mne.use_log_level("error"):
        forward = mne.convert_forward_solution(
            template_forward(info, spacing="ico3"), surf_ori=True, force_fixed=True
        )
    print("| SNR (dB) | sources | 50 % | 80 % | 95 % |", "|---:|:--|---:|---:|---:|", sep="\n")
    for snr in SNRS:
        shares = {"all": [], "found": []}
        for seed in range(args.seeds):
            with mne.use_log_level("error"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # convergence
                sim = simulate_evoked(
                    forward, info, sources=3, snr_db=snr, tmax=0.49, rng=seed,
                    time_course=partial(time_courses, kind="ar", ar=0.9),
                )  # fmt: skip
                for name, inside in coverage(sim, forward).items():
                    shares[name].append(inside.reshape(len(LEVELS), -1))
        for name, parts in shares.items():
            inside = np.concatenate(parts, axis=1)
            cells = " | ".join(f"{100 * share:.0f}" for share in inside.mean(axis=1))
            print(f"| {snr} | {name} ({inside.shape[1] // 50}) | {cells} |", flush=True)


if __name__ == "__main__":
    main()
