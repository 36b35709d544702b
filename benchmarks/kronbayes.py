"""Simulated comparison of apply_kron_bayes with MNE's solvers.

Three cortical sources with autoregressive time courses, 64 electrodes, sensor noise that is white
or has the temporal correlation of the sources; the data come from a head whose skull conducts twice
as well as the inverse's. Every solver gets the same average, covariance and forward solution.

Run ``python benchmarks/kronbayes.py`` for the whole grid: results are appended to a CSV file,
so that it can be interrupted and resumed (solvers that have a row are not run again), and
summarized. ``--table`` writes all cells of what is there into a Markdown file, ``--smoke`` runs one
cell.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import time
import warnings
from functools import partial
from pathlib import Path

import mne
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from mne_invkit.heads.template import template_forward
from mne_invkit.metrics.estimates import score
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.simulation.signals import time_courses
from mne_kronbayes import apply_kron_bayes, compare, fit_kron_bayes, learn_skull

SFREQ = 100.0
CORRELATIONS = (0.0, 0.0), (0.5, 0.0), (0.95, 0.0), (0.5, 0.5), (0.95, 0.95)  # sources, noise
SNRS, TRIALS, N_TIMES = (0, 5, 10, 20), (1, 5, 20, 50), (20, 100, 500)
CELL = "ar", "noise_ar", "snr", "n_trials", "n_times"
DATA_CONDUCTIVITY = (0.3, 0.012, 0.3)
MODELS = [  # temporal covariance of the sources, and of the noise
    ("identity", "shared"), ("ar1", "shared"), ("ar1", "white"),
    ("toeplitz", "shared"), ("toeplitz", "white"),
]  # fmt: skip
SHOWN = {"normalized_emd": "EMD", "localization_error": "LE", "time_course_error": "TCE"}
RESULTS = Path(__file__).with_name("kronbayes.csv")
HEAD = """# All cells of the simulated comparison

Written by `python benchmarks/kronbayes.py --table`: medians of the normalized earth mover's
distance (EMD), the localization error (LE, mm) and the error of the time courses (TCE). AR and
noise AR are the correlations of neighbouring samples of the sources and of the noise. A star marks
the cells in which one of MNE's solvers or plain Champagne has the smaller EMD or TCE. Each table is
of the repetitions that all its solvers have run.
"""


# %% Solvers: simulation and forward solution in, vector estimate out


def kronbayes(sim, forward, **options):
    return apply_kron_bayes(sim.evoked, forward, sim.noise_cov, pick_ori="vector", **options)


def with_skull(sim, forward, **options):
    forward, _ = learn_skull(sim.evoked, forward, sim.noise_cov, **options)
    return kronbayes(sim, forward, **options)


def with_models_and_skull(sim, forward, **options):
    fits = {
        (temporal, noise): fit_kron_bayes(
            sim.evoked, forward, sim.noise_cov, temporal=temporal, noise_temporal=noise, **options
        )
        for temporal, noise in MODELS
    }
    temporal, noise = next(iter(compare(fits)))
    return with_skull(sim, forward, temporal=temporal, noise_temporal=noise, **options)


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


def _averaged(sim):
    """Noise covariance of the average: MNE's sparse solvers do not know of nave."""
    noise_cov = sim.noise_cov.copy()
    noise_cov["data"] = noise_cov["data"] / sim.evoked.nave
    return noise_cov


OURS = {
    "kronbayes": kronbayes,
    "kronbayes selected, full noise": partial(kronbayes, select=True, noise="full"),
    "kronbayes occam=2": partial(kronbayes, occam=2),
    "kronbayes occam=2, full noise": partial(kronbayes, occam=2, noise="full"),
    "kronbayes occam=2, identity": partial(kronbayes, occam=2, temporal="identity"),
    "kronbayes occam=2, scalar noise": partial(kronbayes, occam=2, noise="scalar"),
    "kronbayes occam=2, scalar noise, skull": partial(with_skull, occam=2, noise="scalar"),
    "kronbayes occam=2, scalar noise, models, skull": partial(
        with_models_and_skull, occam=2, noise="scalar"
    ),
    "kronbayes occam=2, scalar noise, models, skull, orientations": partial(
        with_models_and_skull, occam=2, noise="scalar", learn_orient=True
    ),
}
RIVALS = {
    "Champagne": partial(kronbayes, temporal="identity", noise="fixed"),
    "gamma_map": gamma_map,
    "mixed_norm": mixed_norm,
    "eLORETA": eloreta,
}
SOLVERS = OURS | RIVALS
TABLES = {  # of the repetitions that all have run, which differ
    "All solvers": list(SOLVERS),
    "Model and skull learned": [list(OURS)[-2], *RIVALS],
    "Model, skull and orientations learned": [list(OURS)[-1], *RIVALS],
}


# %% The grid


def run_case(case, names, info, data_forward, forward) -> list[dict]:
    """Simulate one data set and score solvers on it."""
    keys = dict(zip((*CELL, "seed"), case, strict=True))
    sim = simulate_evoked(
        data_forward, info, sources=3, orientation="normal", snr_db=keys["snr"],
        n_trials=keys["n_trials"], tmax=(keys["n_times"] - 1) / SFREQ,
        time_course=partial(time_courses, kind="ar", ar=keys["ar"]), noise_ar=keys["noise_ar"],
        rng=np.random.default_rng([round(100 * value) for value in case]), verbose="error",
    )  # fmt: skip
    rows = []
    for name in names:
        row = keys | dict(solver=name)
        start = time.perf_counter()
        try:
            with mne.use_log_level("error"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # convergence, rank: the scores tell
                stc = SOLVERS[name](sim, forward)
                seconds = time.perf_counter() - start
                scores = score(sim.stc, stc, forward["src"])
        except Exception as error:  # no active source, most often
            rows.append(row | dict(error=str(error)[:80]))
            continue
        scores = {key: f"{value:.5g}" for key, value in scores.items()}
        rows.append(row | {"seconds": round(seconds, 3), "error": ""} | scores)
    return rows


FIELDS = [
    *CELL, "seed", "solver", "seconds", "error", "localization_error", "spatial_dispersion",
    "normalized_emd", "auc", "time_course_error", "amplitude_error",
]  # fmt: skip


def read_rows() -> list[dict]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


# %% Tables


def medians(rows: list[dict], names: list[str]) -> dict[tuple, dict[str, np.ndarray]]:
    """Median EMD, LE and TCE in each cell, of the repetitions that all these solvers have run.

    They are infinite where a solver finds nothing.
    """
    repetitions = {}
    for row in rows:
        case = tuple(float(row[key]) for key in (*CELL, "seed"))
        found = [float("inf" if row["error"] else row[key]) for key in SHOWN]
        repetitions.setdefault(case, {})[row["solver"]] = found
    cells = {}
    for (*cell, _), found in sorted(repetitions.items()):
        if found.keys() >= set(names):
            cells.setdefault(tuple(cell), []).append([found[name] for name in names])
    return {
        cell: dict(zip(names, np.median(found, axis=0), strict=True))
        for cell, found in cells.items()
    }


def loses(found: dict[str, np.ndarray], ours: str, rivals) -> bool:
    """Whether any rival has the smaller EMD or TCE."""
    emd, _, course = found[ours]
    return any(found[name][0] < emd or found[name][2] < course for name in rivals)


def summary(cells: dict) -> str:
    """Markdown table of each solver's medians over cells, and of where ours are ahead."""
    names = list(next(iter(cells.values())))
    rivals = [name for name in names if name in RIVALS]
    groups = [[rival] for rival in rivals] + [rivals]
    lines = [
        f"| solver | {' | '.join(SHOWN.values())} | " + " | ".join(rivals) + " | all |",
        "|:--|" + "---:|" * (len(SHOWN) + len(groups)),
    ]
    for name in names:
        emd, place, course = np.median([found[name] for found in cells.values()], axis=0)
        line = f"| {name} | {emd:.3f} | {1e3 * place:.0f} mm | {course:.3f} |"
        if name in OURS:
            for group in groups:
                ahead = [not loses(found, name, group) for found in cells.values()]
                line += f" {100 * np.mean(ahead):.0f} % |"
        lines.append(line)
    return "\n".join(lines)


def shares(cells: dict) -> str:
    """Markdown table of where the last of our solvers is ahead of all rivals."""
    ours = [name for name in next(iter(cells.values())) if name in OURS][-1]
    ahead = {(T, snr): [] for T in (*N_TIMES, "all") for snr in (*SNRS, "all")}
    for (*_, snr, _, n_times), found in cells.items():
        for key in itertools.product((n_times, "all"), (snr, "all")):
            ahead[key].append(not loses(found, ours, RIVALS))
    lines = [
        "| samples | " + " | ".join(f"{snr} dB" for snr in SNRS) + " | all |",
        "|" + "---:|" * (len(SNRS) + 2),
    ]
    for T in (*N_TIMES, "all"):
        parts = [f"{100 * np.mean(ahead[T, snr]):.0f} %" for snr in (*SNRS, "all")]
        lines.append(f"| {T} | " + " | ".join(parts) + " |")
    return "\n".join(lines)


def table(cells: dict) -> str:
    """Markdown table of all cells; a star marks where a rival is ahead by EMD or TCE."""
    names = list(next(iter(cells.values())))
    rivals = [name for name in names if name in RIVALS]
    lines = [
        "| AR | noise AR | SNR (dB) | trials | T | " + " | ".join(names) + " |",
        "|" + "---:|" * (len(CELL) + len(names)),
    ]
    for cell, found in cells.items():
        parts = [f"{value:g}" for value in cell]
        for name in names:
            emd, place, course = found[name]
            star = "\\*" if name in OURS and loses(found, name, rivals) else ""
            parts.append(f"{emd:.2f} / {1e3 * place:.0f} / {course:.3f}{star}")
        lines.append("| " + " | ".join(parts) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="one cell, nothing is written")
    parser.add_argument("--table", action="store_true", help="write the table, run nothing")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions of each cell")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    if args.table:
        parts = [HEAD]
        for title, names in TABLES.items():
            cells = medians(read_rows(), names)
            print(f"{title}, {len(cells)} cells", summary(cells), sep="\n\n", end="\n\n")
            print("The last of ours is ahead in:", shares(cells), sep="\n\n", end="\n\n")
            parts.append(f"## {title}\n\n{table(cells)}\n")
        RESULTS.with_suffix(".md").write_text("\n".join(parts))
        return
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, SFREQ, "eeg").set_montage(montage)
    with mne.use_log_level("error"):
        forward = template_forward(info, spacing="ico3")
        data_forward = template_forward(info, spacing="ico3", conductivity=DATA_CONDUCTIVITY)
    run = partial(run_case, info=info, data_forward=data_forward, forward=forward)
    if args.smoke:
        rows = run((0.95, 0.0, 20, 5, 20, 0), list(SOLVERS))
        failed = [f"{r['solver']}: {r['error']}" for r in rows if r["error"]]
        if failed:
            raise SystemExit("; ".join(failed))
        print(table(medians(rows, list(SOLVERS))))
        return
    rows = read_rows()
    done = {(tuple(float(r[k]) for k in (*CELL, "seed")), r["solver"]) for r in rows}
    cases = [
        (*pair, snr, n_trials, n_times, seed)
        for seed, pair, snr, n_trials, n_times in itertools.product(
            range(args.seeds), CORRELATIONS, SNRS, TRIALS, N_TIMES
        )
    ]
    random.Random(0).shuffle(cases)  # what is there after an interruption is a fair sample
    cases.sort(key=lambda case: case[4] == max(N_TIMES))  # the slow ones last
    missing = {case: [name for name in args.solvers if (case, name) not in done] for case in cases}
    todo = [delayed(run)(case, names) for case, names in missing.items() if names]
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        parallel = Parallel(n_jobs=args.jobs, return_as="generator_unordered")
        for result in tqdm(parallel(todo), total=len(todo), unit="case"):
            writer.writerows(result)
            file.flush()
    print(summary(medians(read_rows(), args.solvers)))


if __name__ == "__main__":
    main()
