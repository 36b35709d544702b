"""Accuracy and speed of 3D-PIUNet beside MNE's solvers, on heads it was not trained on.

``accuracy``
    Single samples of simulated EEG in random heads, and in the head of MNE's sample subject.
    Sources are Gaussian patches of 5 to 40 mm (standard deviation) around random places, with
    random orientations, on a cortex along its normals, as in Morik et al. (2024). Other
    conductivities, shells and electrodes make the data than those the inverse knows. Every
    solver gets the same Evoked of one sample, forward solution and true noise covariance.
``start``
    The network beside what it starts from, on the heads that validate its training.
``columns``
    Localization error of single sources without an error of the model, for many kinds of
    sensors and sources.
``speed``
    Seconds, samples per second and memory.

Results of ``accuracy`` are appended to a CSV file, so that it can be interrupted and resumed;
delete it, or its rows of ``piunet``, before another model is tried. All its tables are written to
a file beside it. ``--smoke`` runs a tiny version, and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import resource
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import mne
import numpy as np
from joblib import Parallel, delayed
from piunet_cases import (
    CACHE,
    CASES,
    NOISE,
    SOLVERS,
    SPEED_CASES,
    Bench,
    build_heads,
    load_bench,
    starts,
    template_head,
)
from piunet_tables import METRICS, markdown, read_rows, tables
from tqdm import tqdm

from mne_invkit.inverse.stc import dense_data
from mne_invkit.metrics.arrays import (
    amplitude_error,
    localization_error,
    normalized_emd,
    source_auc,
)
from mne_invkit.population.draw import Population
from mne_invkit.population.head import Head
from mne_piunet import apply_piunet, load_piunet, make_piunet
from mne_piunet.inference import BACKENDS, Network
from mne_piunet.kernel.eloreta import eloreta
from mne_piunet.training.validation import CONDITIONS, HELD_OUT, Validation, held_out_cases

BLOCK = 0.014  # m
EXTENT = (0.005, 0.04)  # m
ACTIVE = 0.1  # of the strongest source
RESULTS = Path(__file__).with_name("piunet.csv")
COLUMNS = Path(__file__).with_name("piunet_columns.csv")
KEYS = ("head", "condition", "sample", "solver")
FIELDS = [*KEYS, "seconds", "error", "emd", *METRICS]


# %% Accuracy: one sample


def draw_moments(head: Head, n_sources: int, rng: np.random.Generator) -> np.ndarray:
    """Sum of patches of unit norm times normal amplitudes, shape (n_locations, 3)."""
    moments = np.zeros((len(head.positions), 3))
    for _ in range(n_sources):
        center = head.positions[rng.integers(len(head.positions))]
        distance = np.linalg.norm(head.positions - center, axis=1)
        profile = np.exp(-(distance**2) / (2 * rng.uniform(*EXTENT) ** 2))
        direction = rng.standard_normal(3)
        patch = profile[:, None] * (direction if head.normals is None else head.normals)
        moments += rng.standard_normal() * patch / np.linalg.norm(patch)
    return moments


def draw_sample(
    bench: Bench, condition: str, rng: np.random.Generator
) -> tuple[np.ndarray, mne.EvokedArray]:
    """Moments (A m) and their data, in white noise of the same power for all."""
    n_sources, snr = CONDITIONS[condition]
    moments = draw_moments(bench.head, n_sources, rng)
    signal = bench.head.data_gain @ moments.ravel()
    signal -= signal.mean()
    size = NOISE * 10 ** (snr / 20) / signal.std()
    noise = NOISE * rng.standard_normal(len(signal))
    return size * moments, bench.evoked(size * signal + noise)


def score(truth: np.ndarray, estimate: np.ndarray, positions: np.ndarray) -> dict[str, float]:
    """Metrics of moments, shape (n_locations, 3).

    The earth mover's distance is that of strengths summed over cubes of 14 mm, as in training:
    exact transport between thousands of places takes seconds. Sources are active from a tenth
    of the strongest on, and where all are there is no AUC; the localization error is that of
    their peaks. NMSE compares magnitudes of unit norm. The cosine between moments, without its
    sign, is a mean weighted by the truth, 0 where the estimate is.
    """
    x, y = (np.linalg.norm(moments, axis=1) for moments in (truth, estimate))
    member = np.unique(positions // BLOCK, axis=0, return_inverse=True)[1].ravel()
    places = [np.bincount(member, p) / np.bincount(member) for p in positions.T]
    blocks = (np.bincount(member, strength) for strength in (x, y))
    active = x >= ACTIVE * x.max()
    cosine = np.abs(np.sum(truth * estimate, axis=1)) / np.maximum(x * y, np.finfo(float).tiny)
    return {
        "emd": normalized_emd(*blocks, np.transpose(places)),
        "auc": np.nan if active.all() else source_auc(active, y),
        "localization_error": localization_error(np.where(active, x, 0), y, positions),
        "nmse": amplitude_error(x / np.linalg.norm(x), y / np.linalg.norm(y)),
        "cosine": float(np.average(cosine, weights=x)),
    }


def run_sample(
    bench: Bench, head: str, condition: str, sample: int, solvers: list[str]
) -> list[dict]:
    """Rows of one sample; the distance of an estimate that failed counts 1."""
    seed = [abs(bench.head.seed), list(CONDITIONS).index(condition), sample]
    truth, evoked = draw_sample(bench, condition, np.random.default_rng(seed))
    rows = []
    for name in solvers:
        row = dict(zip(KEYS, (head, condition, sample, name), strict=True), error="")
        solve = bench.solver(name)
        start = time.perf_counter()
        try:
            stc = solve(evoked)
            row["seconds"] = round(time.perf_counter() - start, 3)
            estimate = dense_data(stc, bench.forward["src"])[:, :, 0]
            scores = score(truth, estimate, bench.head.positions)
            row |= {key: round(value, 5) for key, value in scores.items()}
        except Exception as error:  # no active source, most often
            row |= dict(error=f"{type(error).__name__}: {error}"[:80], emd=1.0)
        rows.append(row)
    return rows


def run_task(folder, model, head, condition, sample, solvers) -> list[dict]:
    """As :func:`run_sample`, in any process."""
    with mne.use_log_level("error"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence, rank: the scores tell
        bench = load_bench(head, folder, model)
        return run_sample(bench, head, condition, sample, solvers)


# %% Accuracy: all


def run_accuracy(args) -> None:
    with mne.use_log_level("error"):
        heads = build_heads(args.heads)
    done = {tuple(row[key] for key in KEYS) for row in read_rows(RESULTS)}
    todo = []
    for head, condition, sample in itertools.product(heads, CONDITIONS, range(args.samples)):
        missing = [
            name for name in args.solvers if (head, condition, str(sample), name) not in done
        ]
        if missing:
            todo.append(delayed(run_task)(args.heads, args.model, head, condition, sample, missing))
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        results = Parallel(args.jobs, return_as="generator_unordered")(todo)
        for rows in tqdm(results, total=len(todo), unit="sample"):
            writer.writerows(rows)
            file.flush()
    report = tables(read_rows(RESULTS))
    RESULTS.with_suffix(".md").write_text(report + "\n", encoding="utf-8")
    print(report)


def run_smoke(args) -> None:
    """One sample of each condition for two solvers; any error ends it."""
    with mne.use_log_level("error"):
        bench = Bench(template_head(), args.model)
        rows = [
            row for condition in CONDITIONS
            for row in run_sample(bench, "template", condition, 0, ["piunet", "eLORETA"])
        ]  # fmt: skip
    failed = [f"{row['solver']}: {row['error']}" for row in rows if row["error"]]
    if failed:
        raise SystemExit("; ".join(failed))
    print(tables(rows))


# %% What the network starts from


def run_start(args) -> None:
    heads = Population(args.heads, range(HELD_OUT, HELD_OUT + 8))
    heads.build(n_jobs=1)
    weights = load_piunet(args.model)
    examples = Validation(held_out_cases(heads, multiple=weights.multiple))
    rows = [
        [n, *(f"{v:.3f}" for v in examples.score(a).values())] for n, a in starts(weights).items()
    ]
    print(markdown(["normalized EMD", *CONDITIONS], rows))


# %% Columns


def column_errors(case: str, model: str, n_columns: int) -> list[dict]:
    """Distances between sources and maxima of their estimates, data at 20 dB."""
    info, forward, noise_cov = CASES[case]()
    forward = mne.pick_channels_forward(forward, info["ch_names"], ordered=True)
    rng, n_sources = np.random.default_rng(0), forward["nsource"]
    gain = forward["sol"]["data"].reshape(len(info["ch_names"]), n_sources, -1)
    true = rng.choice(n_sources, n_columns, replace=False)
    moments = rng.standard_normal((n_columns, gain.shape[2]))
    moments /= np.linalg.norm(moments, axis=1, keepdims=True)
    evoked = mne.EvokedArray(np.einsum("mno,no->mn", gain[:, true], moments), info)
    if "eeg" in evoked:
        evoked.set_eeg_reference("average", projection=True)
    std = np.sqrt(noise_cov["data"])[:, None]
    seen = evoked.copy().apply_proj().data / std
    evoked.data *= 10 / np.sqrt(np.mean(seen**2, axis=0))
    evoked.data += std * rng.standard_normal(evoked.data.shape)

    loose = 1.0 if gain.shape[2] == 3 else 0.0
    inverse = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise_cov, loose=loose, depth=None
    )
    estimates = {
        "piunet": apply_piunet(evoked, forward, noise_cov, model=model),
        "eLORETA": mne.minimum_norm.apply_inverse(evoked, inverse, 1e-2, "eLORETA"),
    }
    rows = []
    for name, stc in estimates.items():
        found = np.abs(stc.data).argmax(axis=0)
        error = 1e3 * np.linalg.norm(np.subtract(*forward["source_rr"][[found, true]]), axis=1)
        rows.append(
            dict(case=case, channels=len(gain), sources=n_sources, columns=n_columns, solver=name,
                 median_mm=round(np.median(error), 2), mean_mm=round(np.mean(error), 2))
        )  # fmt: skip
    return rows


def run_columns(args) -> None:
    rows = []
    for case in tqdm(CASES, unit="case"):
        try:
            with mne.use_log_level("error"):
                rows += column_errors(case, args.model, args.columns)
        except FileNotFoundError as error:
            tqdm.write(f"{case} is left out. {error}")
    with COLUMNS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    table = {}
    for row in rows:
        cells = table.setdefault(row["case"], [row["case"], row["channels"], row["sources"]])
        cells.append(f"{row['median_mm']:.1f} ({row['mean_mm']:.1f})")
    header = ["mm, median (mean)", "channels", "sources", "piunet", "eLORETA"]
    print(markdown(header, list(table.values())))


# %% Speed


def timed(function, *args, repeat: int = 1, **kwargs) -> tuple:
    """Value and median seconds of a call."""
    spent = []
    for _ in range(repeat):
        start = time.perf_counter()
        value = function(*args, **kwargs)
        spent.append(time.perf_counter() - start)
    return value, float(np.median(spent))


def measure(case: tuple, model: str) -> list:
    """Figures of the table: sources, preparation, both backends, memory, and eLORETA's weights.

    The memory is that of the process with MNE, the first backend (torch) and the forward
    solution. Our weights are in single precision, as for the network, and MNE's come with the
    rest of what it prepares, which takes little.
    """
    mne.set_log_level("error")
    info, forward, noise_cov = case
    noise = np.random.default_rng(0).standard_normal((len(info["ch_names"]), 421))
    evoked = mne.EvokedArray(3 * np.sqrt(noise_cov["data"])[:, None] * noise, info)
    if "eeg" in evoked:
        evoked.set_eeg_reference("average", projection=True)
    prepared, preparation = timed(make_piunet, evoked.info, forward, noise_cov, model=model)
    rates, memory = [], None
    for backend in BACKENDS:
        try:
            network = Network(prepared.network.weights, backend)
        except ImportError:
            rates.append("–")
            continue
        operator = replace(prepared, network=network)
        apply_piunet(evoked.copy().crop(0, 0), operator)  # warms up
        _, spent = timed(apply_piunet, evoked, operator, repeat=3)
        rates.append(f"{len(evoked.times) / spent:.1f}")
        memory = memory or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    inverse = mne.minimum_norm.make_inverse_operator(
        evoked.info, forward, noise_cov, loose=1.0, depth=None
    )
    prepare = mne.minimum_norm.prepare_inverse_operator
    _, ours = timed(eloreta, prepared.problem.gain.astype(np.float32), repeat=3)
    _, theirs = timed(prepare, inverse, 1, 1 / 9, "eLORETA", repeat=3)
    ratio = f"{theirs:.2f} / {ours:.2f} = {theirs / ours:.1f}"
    return [forward["nsource"], f"{preparation:.1f}", *rates, f"{memory:.2f}", ratio]


def run_speed(args) -> None:
    def alone(function, *args):
        """Call in a process of its own, for its memory."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(function, *args).result()

    rows = []
    for name, make_case in SPEED_CASES.items():
        try:
            case = alone(make_case)
        except FileNotFoundError as error:
            print(f"{name} is left out. {error}")
            continue
        rows.append([name, *alone(measure, case, args.model)])
    rates = [f"samples/s, {backend}" for backend in BACKENDS]
    memory, ratio = "peak memory (GiB)", "eLORETA weights (s), MNE / ours"
    print(markdown(["case", "sources", "preparation (s)", *rates, memory, ratio], rows))


# %% The command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="one small head, nothing is written")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers()
    accuracy = commands.add_parser("accuracy", help="simulated samples in unseen heads")
    accuracy.add_argument("--samples", type=int, default=6, help="of each head and condition")
    accuracy.add_argument("--jobs", type=int, default=1, help="processes")
    accuracy.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    start = commands.add_parser("start", help="the network beside what it starts from")
    folder = CACHE / "benchmark-heads"
    for one in (accuracy, start):
        one.add_argument("--heads", type=Path, default=folder, help="folder of the heads")
    columns = commands.add_parser("columns", help="localization error of single sources")
    columns.add_argument("--columns", type=int, default=100, help="sources of each case")
    speed = commands.add_parser("speed", help="seconds and memory")
    commands = {accuracy: run_accuracy, start: run_start, columns: run_columns, speed: run_speed}
    for command, run in commands.items():
        command.set_defaults(run=run)
    for one in (parser, *commands):  # may stand before or after the command
        default = "default" if one is parser else argparse.SUPPRESS
        one.add_argument("--model", default=default, help="name or file of a model")
    args = parser.parse_args()
    run = run_smoke if args.smoke else args.run
    if run is None:
        parser.error("choose accuracy, start, columns or speed, or --smoke")
    run(args)


if __name__ == "__main__":
    main()
