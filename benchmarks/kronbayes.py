"""Simulated comparison of apply_kron_bayes with MNE's solvers.

Three cortical sources with autoregressive time courses (0.95 at 100 Hz), 64 electrodes, white
sensor noise; the data come from a head whose skull conducts twice as well as the inverse's.
Every solver gets the same average, covariance and forward solution.

Run ``python benchmarks/kronbayes.py`` for the whole grid: results are appended to a CSV file,
so that it can be interrupted and resumed (solvers that have a row are not run again), and printed
as a table. ``--smoke`` runs one cell.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
import warnings
from functools import partial
from pathlib import Path

import mne
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from mne_invkit.heads import template_forward
from mne_invkit.scores import score
from mne_invkit.signals import time_courses
from mne_invkit.simulate import simulate_evoked
from mne_kronbayes import apply_kron_bayes

SFREQ = 100.0
SNRS, TRIALS, N_TIMES = (0, 5, 10, 20), (1, 5, 20), (20, 100)
DATA_CONDUCTIVITY = (0.3, 0.012, 0.3)
SHOWN = {"normalized_emd": "EMD", "localization_error": "LE", "time_course_error": "TCE"}
RESULTS = Path(__file__).with_name("kronbayes.csv")


# %% Solvers: simulation and forward solution in, vector estimate out


def kronbayes(sim, forward, **options):
    return apply_kron_bayes(sim.evoked, forward, sim.noise_cov, pick_ori="vector", **options)


def gamma_map(sim, forward):
    return mne.inverse_sparse.gamma_map(
        sim.evoked, forward, _averaged(sim), alpha=1.0, pick_ori="vector"
    )


def mixed_norm(sim, forward):
    return mne.inverse_sparse.mixed_norm(
        sim.evoked, forward, _averaged(sim), alpha="sure", pick_ori="vector", rng=0
    )


def eloreta(sim, forward):
    inverse = mne.minimum_norm.make_inverse_operator(
        sim.evoked.info, forward, sim.noise_cov, depth=None
    )
    return mne.minimum_norm.apply_inverse(sim.evoked, inverse, 1 / 9, "eLORETA", "vector")


def lcmv(sim, forward):
    n_samples = len(sim.epochs) * len(sim.evoked.times)
    if n_samples < 3 * len(sim.evoked.ch_names):
        raise NotApplicable("too few samples for a data covariance")
    data_cov = mne.compute_covariance(sim.epochs)
    filters = mne.beamformer.make_lcmv(
        sim.evoked.info, forward, data_cov, noise_cov=sim.noise_cov, pick_ori="vector"
    )
    return mne.beamformer.apply_lcmv(sim.evoked, filters)


class NotApplicable(Exception):
    """A solver cannot be used on such data."""


def _averaged(sim):
    """Noise covariance of the average: MNE's sparse solvers do not know of nave."""
    noise_cov = sim.noise_cov.copy()
    noise_cov["data"] = noise_cov["data"] / sim.evoked.nave
    return noise_cov


SOLVERS = {
    "kronbayes identity": partial(kronbayes, temporal="identity"),
    "kronbayes toeplitz": partial(kronbayes, temporal="toeplitz"),
    "kronbayes full": partial(kronbayes, temporal="full"),
    "kronbayes selected": partial(kronbayes, select=True),
    "kronbayes selected, full noise": partial(kronbayes, select=True, noise="full"),
    "kronbayes selected, full noise, identity": partial(
        kronbayes, select=True, noise="full", temporal="identity"
    ),
    "kronbayes selected, white noise": partial(
        kronbayes, select=True, noise="scalar", noise_temporal="white"
    ),
    "gamma_map": gamma_map,
    "mixed_norm": mixed_norm,
    "eLORETA": eloreta,
    "LCMV": lcmv,
}


# %% The grid


def run_cell(cell, names, info, data_forward, forward) -> list[dict]:
    """Simulate one data set and score solvers on it."""
    snr, n_trials, n_times, _ = cell
    sim = simulate_evoked(
        data_forward, info, sources=3, orientation="normal", snr_db=snr, n_trials=n_trials,
        tmax=(n_times - 1) / SFREQ, time_course=partial(time_courses, kind="ar", ar=0.95),
        rng=np.random.default_rng(cell), verbose="error",
    )  # fmt: skip
    rows = []
    for name in names:
        row = dict(zip(("snr", "n_trials", "n_times", "seed"), cell, strict=True), solver=name)
        start = time.perf_counter()
        try:
            with mne.use_log_level("error"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # convergence, rank: the scores tell
                stc = SOLVERS[name](sim, forward)
                seconds = time.perf_counter() - start
                scores = score(sim.stc, stc, forward["src"])
        except NotApplicable:
            continue
        except Exception as error:  # no active source, most often
            row["error"] = str(error)[:80]
            rows.append(row)
            continue
        rows.append(row | {"seconds": round(seconds, 3), "error": ""} | scores)
    return rows


FIELDS = [
    "snr", "n_trials", "n_times", "seed", "solver", "seconds", "error", "localization_error",
    "spatial_dispersion", "normalized_emd", "auc", "time_course_error", "amplitude_error",
]  # fmt: skip


def read_rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[dict]) -> str:
    """Markdown table of medians: a row for each cell, a column for each solver."""
    names = [name for name in SOLVERS if any(r["solver"] == name for r in rows)]
    lines = [
        "| SNR (dB) | trials | T | " + " | ".join(names) + " |",
        "|" + "---:|" * (3 + len(names)),
    ]
    cells = sorted({(int(r["snr"]), int(r["n_trials"]), int(r["n_times"])) for r in rows})
    for cell in cells:
        parts = {}
        for name in names:
            mine = [
                r for r in rows
                if (int(r["snr"]), int(r["n_trials"]), int(r["n_times"])) == cell
                and r["solver"] == name
            ]  # fmt: skip
            failed = sum(bool(r["error"]) for r in mine)
            values = [[float(r[k]) for r in mine if not r["error"]] for k in SHOWN]
            if values[0]:
                emd, place, course = (float(np.median(v)) for v in values)
                text = f"{emd:.2f} / {1e3 * place:.0f} / {course:.2f}"
                parts[name] = text + (f" ({failed} failed)" if failed else "")
            else:
                parts[name] = "failed" if failed else "–"
        lines.append("| " + " | ".join([*map(str, cell), *parts.values()]) + " |")
    return "\n".join(lines)


def summary(rows: list[dict]) -> str:
    """Markdown table of each solver's medians over all cells, and its seconds."""
    lines = [
        "| solver | " + " | ".join(SHOWN.values()) + " | seconds |",
        "|:--|---:|---:|---:|---:|",
    ]
    for name in SOLVERS:
        mine = [r for r in rows if r["solver"] == name and not r["error"]]
        if mine:
            medians = [np.median([float(r[k]) for r in mine]) for k in (*SHOWN, "seconds")]
            emd, place, course, seconds = medians
            lines.append(
                f"| {name} | {emd:.2f} | {1e3 * place:.0f} mm | {course:.2f} | {seconds:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="one cell, nothing is written")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions of each cell")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, SFREQ, "eeg").set_montage(montage)
    with mne.use_log_level("error"):
        forward = template_forward(info, spacing="ico3")
        data_forward = template_forward(info, spacing="ico3", conductivity=DATA_CONDUCTIVITY)
    run = partial(run_cell, info=info, data_forward=data_forward, forward=forward)
    if args.smoke:
        rows = run_cell((20, 5, 20, 0), list(SOLVERS), info, data_forward, forward)
        failed = [f"{r['solver']}: {r['error']}" for r in rows if r["error"]]
        if failed:
            raise SystemExit("; ".join(failed))
        print(table(rows))
        return
    rows = read_rows(RESULTS)
    keys = ("snr", "n_trials", "n_times", "seed")
    done = {(tuple(int(r[k]) for k in keys), r["solver"]) for r in rows}
    cells = [
        (s, g, t, k) for k, s, g, t in itertools.product(range(args.seeds), SNRS, TRIALS, N_TIMES)
    ]
    missing = {cell: [name for name in SOLVERS if (cell, name) not in done] for cell in cells}
    todo = [delayed(run)(cell, names) for cell, names in missing.items() if names]
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        parallel = Parallel(n_jobs=args.jobs, return_as="generator_unordered")
        for result in tqdm(parallel(todo), total=len(todo), unit="cell"):
            writer.writerows(result)
            file.flush()
    rows = [row for row in read_rows(RESULTS) if int(row["seed"]) < args.seeds]
    print(summary(rows), table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
