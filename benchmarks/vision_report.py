"""Tables and picture of the results of vision.py."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).with_name("vision.csv")
FIELDS = [
    "subtask", "fraction", "seed", "method", "weight", "epochs", "validation", "accuracy",
    "integrated_gradients", "lrp", "best_epoch", "seconds",
]  # fmt: skip
SCORES = {"accuracy": 100.0, "integrated_gradients": 1.0, "lrp": 1.0}


def read_rows() -> list[dict]:
    """Rows of the results, their numbers as numbers."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in FIELDS:
            if name in ("seed", "epochs", "best_epoch"):
                row[name] = int(row[name])
            elif name not in ("subtask", "method"):
                row[name] = float(row[name])
    return rows


def best_weights(rows: list[dict], seed: int) -> dict[tuple, float]:
    """Weight with the highest mean validation score at a seed, by fraction and method.

    Weights that have not run on all subtasks are left out.
    """
    scores = defaultdict(list)
    for row in rows:
        if row["seed"] == seed:
            scores[row["fraction"], row["method"], row["weight"]].append(row["validation"])
    most = max(map(len, scores.values()), default=0)
    best = {}
    for (fraction, method, weight), found in sorted(scores.items()):
        mean, key = np.mean(found), (fraction, method)
        if len(found) == most and mean > best.get(key, (0,))[0]:
            best[key] = mean, weight
    return {key: weight for key, (_, weight) in best.items()}


def chosen_rows(rows: list[dict], seed: int) -> list[dict]:
    """Rows with the weights chosen at a seed."""
    best = best_weights(rows, seed)
    return [r for r in rows if r["weight"] == best.get((r["fraction"], r["method"]))]


def complete(rows: list[dict], methods: list[str]) -> list[dict]:
    """Rows of the images and seeds on which all methods have run."""
    places = [(r["subtask"], r["fraction"], r["seed"]) for r in rows]
    counts = Counter(places)
    return [r for r, place in zip(rows, places, strict=True) if counts[place] == len(methods)]


def paired(rows: list[dict], score: str, one: str, other: str) -> np.ndarray:
    """Differences between two methods on the same images and seeds."""
    values = [
        {(r["subtask"], r["fraction"], r["seed"]): r[score] for r in rows if r["method"] == method}
        for method in (one, other)
    ]
    return np.array([values[0][k] - values[1][k] for k in values[0] if k in values[1]])


def interval(values: np.ndarray, rng: int = 0) -> tuple[float, float]:
    """95 % of the bootstrapped means."""
    draws = np.random.default_rng(rng).choice(values, (10_000, len(values))).mean(axis=1)
    return tuple(np.quantile(draws, [0.025, 0.975]))


def table(rows: list[dict], methods: list[str], fraction: float) -> str:
    """Markdown: mean scores, and by how much SubDistill is ahead, with 95 % intervals."""
    rows = [r for r in rows if r["fraction"] == fraction]
    lines = [
        "| method | runs | accuracy (%) | behind by | IG agreement | behind by | LRP agreement | "
        "behind by |",
        "|:--|" + "---:|" * 7,
    ]
    for method in methods:
        mine = [r for r in rows if r["method"] == method]
        cells = [method, str(len(mine))]
        for score, scale in SCORES.items() if mine else ():
            digits = 1 if scale > 1 else 3
            cells.append(f"{scale * np.mean([r[score] for r in mine]):.{digits}f}")
            gain = scale * paired(rows, score, "SubDistill", method)
            if method == "SubDistill" or not len(gain):
                cells.append("–")
            else:
                low, high = interval(gain)
                cells.append(f"{gain.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        if mine:
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: list[dict], methods: list[str]):
    """Draw the difference of each method to KD, with intervals, for each score and fraction."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, len(SCORES), sharey=True)
    others = [m for m in methods if m != "KD"][::-1]
    for axis, (score, scale) in zip(axes, SCORES.items(), strict=True):
        for shift, fraction in enumerate(sorted({r["fraction"] for r in rows})):
            some = [r for r in rows if r["fraction"] == fraction]
            for place, method in enumerate(others):
                gain = scale * paired(some, score, method, "KD")
                if len(gain):
                    low, high = interval(gain)
                    y, colour = place + 0.2 * shift, f"C{shift}"
                    axis.plot([low, high], [y, y], color=colour)
                    first = place == len(others) - 1
                    label = f"{100 * fraction:.0f} % of the images" if first else None
                    axis.plot(gain.mean(), y, "o", color=colour, label=label)
        axis.axvline(0, color="0.7", zorder=0)
        axis.set(xlabel=f"{score.replace('_', ' ')}, difference to KD")
    axes[0].set_yticks(range(len(others)), others)
    legend = axes[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside upper center", ncols=2, fontsize="small")
    return figure


def write_report(methods: list[str], ablation: list[str], seed: int) -> None:
    """Print the tables and draw the picture, with the weights chosen at a seed."""
    found = chosen_rows(read_rows(), seed)
    rows = complete([r for r in found if r["method"] in methods], methods)
    for fraction in sorted({r["fraction"] for r in rows}):
        print(f"\n{100 * fraction:.0f} % of the images\n")
        print(table(rows, methods, fraction))
    print("\nWithout one choice each, 10 % of the images\n")
    print(table(found, ["SubDistill", *ablation], 0.1))
    if rows:
        plot(rows, methods).savefig(RESULTS.with_suffix(".png"), dpi=120)
