"""Results of the benchmark of 3D-PIUNet, read and shown."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from piunet_cases import SOLVERS

from mne_piunet.training.validation import CONDITIONS

METRICS = {"auc": "AUC", "localization_error": "LE (mm)", "nmse": "NMSE", "cosine": "cosine"}


def markdown(header: list[str], rows: list[list]) -> str:
    lines = [header, [":--", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def mean(rows: list[dict], key: str) -> float:
    values = [float(row[key]) for row in rows if row[key] not in ("", "nan")]
    return float(np.mean(values)) if values else np.nan


def tables(rows: list[dict]) -> str:
    """Means of the solvers in samples that all have run, and PIUNet's by head in all of its own."""
    run = {}
    for row in rows:
        run.setdefault(row["solver"], set()).add((row["head"], row["condition"], row["sample"]))
    common = set.intersection(*run.values())
    shared = [row for row in rows if (row["head"], row["condition"], row["sample"]) in common]

    def select(rows=shared, **wanted):
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    names = [name for name in SOLVERS if name in run]
    conditions = [c for c in CONDITIONS if select(condition=c)]
    emd = [
        [n, *(f"{mean(select(solver=n, condition=k), 'emd'):.3f}" for k in conditions)]
        for n in names
    ]
    others = []
    for name in names:
        mine = select(solver=name)
        auc, place, nmse, cosine = (mean(mine, key) for key in METRICS)
        failed = sum(bool(row["error"]) for row in mine)
        others.append(
            [name, f"{auc:.3f}", f"{1e3 * place:.1f}", f"{nmse:.2f}", f"{cosine:.2f}",
             f"{mean(mine, 'seconds'):.3f}", f"{failed} / {len(mine)}"]
        )  # fmt: skip
    ours = select(rows, solver="piunet")
    parts = {h: select(ours, head=h) for h in dict.fromkeys(row["head"] for row in ours)}
    heads = [
        [name, *(f"{mean(select(part, condition=k), 'emd'):.3f}" for k in conditions), len(part)]
        for name, part in {**parts, "all": ours}.items()
    ]
    return "\n\n".join(
        [
            markdown(["normalized EMD", *conditions], emd),
            markdown(["all conditions", *METRICS.values(), "seconds", "failed"], others),
            markdown(["piunet, EMD", *conditions, "samples"], heads),
        ]
    )


def read_rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
