"""Localization from few trials against all of them: kronbayes beside gamma_map.

Three cortical sources, 64 electrodes, 50 trials whose noise is as correlated in time as ongoing
activity (0.95 at 100 Hz for the sources, 0.9 for the noise), a head that conducts otherwise than
the solvers believe. Printed is the mean localization error (mm) of the average of the first 5
trials and of all.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial

import mne
import numpy as np
from tqdm import tqdm

from mne_invkit.heads.template import template_forward
from mne_invkit.inverse.stc import dense_data, source_positions
from mne_invkit.metrics.arrays import localization_error
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.simulation.signals import time_courses
from mne_kronbayes import apply_kron_bayes, learn_skull

SFREQ, N_TRIALS, FEW = 100.0, 50, 5
DATA_CONDUCTIVITY = (0.3, 0.012, 0.3)
OPTIONS = {
    "kronbayes": {},
    "kronbayes identity": dict(temporal="identity"),
    "kronbayes full noise": dict(noise="full"),
    "kronbayes selected": dict(select=True),
    "kronbayes occam=2": dict(occam=2),
    "kronbayes occam=2, identity": dict(occam=2, temporal="identity"),
}
LEARNED = {"kronbayes skull": {}, "kronbayes scalar noise, skull": dict(noise="scalar")}


def solutions(evoked, forward, noise_cov):
    """Vector estimates by solver."""
    for name, options in OPTIONS.items():
        yield name, apply_kron_bayes(evoked, forward, noise_cov, pick_ori="vector", **options)
    for name, options in LEARNED.items():
        learned, _ = learn_skull(evoked, forward, noise_cov, **options)
        yield name, apply_kron_bayes(evoked, learned, noise_cov, pick_ori="vector", **options)
    averaged = noise_cov.copy()  # gamma_map does not know of nave
    averaged["data"] = averaged["data"] / evoked.nave
    yield (
        "gamma_map",
        mne.inverse_sparse.gamma_map(evoked, forward, averaged, alpha=1.0, pick_ori="vector"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="recordings for each ratio")
    args = parser.parse_args()
    mne.set_log_level("error")
    warnings.simplefilter("ignore")  # convergence
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, SFREQ, "eeg").set_montage(montage)
    forward = template_forward(info, spacing="ico3")
    head = template_forward(info, spacing="ico3", conductivity=DATA_CONDUCTIVITY)
    positions = source_positions(forward["src"])
    print("| SNR (dB) | solver | 5 trials | 50 trials |", "|---:|:--|---:|---:|", sep="\n")
    for snr in (-5, 0):
        errors = {}
        for seed in tqdm(range(args.seeds), leave=False):
            sim = simulate_evoked(
                head, info, sources=3, orientation="normal", snr_db=snr, n_trials=N_TRIALS,
                noise_ar=0.9, time_course=partial(time_courses, kind="ar", ar=0.95), tmax=0.49,
                rng=seed,
            )  # fmt: skip
            truth = dense_data(sim.stc, forward["src"])
            for evoked in (sim.epochs[:FEW].average(), sim.evoked):
                for name, stc in solutions(evoked, forward, sim.noise_cov):
                    found = dense_data(stc, forward["src"])
                    error = 1e3 * localization_error(truth, found, positions)
                    errors.setdefault(name, []).append(error)
        for name, values in errors.items():
            few, all_of_them = np.reshape(values, (-1, 2)).mean(axis=0)
            print(f"| {snr} | {name} | {few:.1f} mm | {all_of_them:.1f} mm |", flush=True)


if __name__ == "__main__":
    main()
