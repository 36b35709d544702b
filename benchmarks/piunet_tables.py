"""Results of the benchmark of 3D-PIUNet, read and shown."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from piunet_cases import SOLVERS

from mne_piunet.validation import LINES

METRICS = {"auc": "AUC", "localization_error": "LE (mm)", "nmse": "NMSE", "cosine": "cosine"}


def markdown(header: list[str], rows: list[list]) -> str:
    lines = [header, [":--", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def mean(rows: list[dict], key: str) -> float:
    values = [float(row[key]) for row in rows if row[key] not in ("", "nan")]
    return float(np.mean(values)) if values else np.nan


def tables(rows: list[dict]) -> str:
    """Mean distances of the solvers by line, their other metrics, and PIUNet's by head."""

    def select(**wanted):
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    names = [name for name in SOLVERS if select(solver=name)]
    lines = [line for line in LINES if select(line=line)]
    emd = [[n, *(f"{mean(select(solver=n, line=k), 'emd'):.3f}" for k in lines)] for n in names]
    others = []
    for name in names:
        mine = select(solver=name)
        auc, place, nmse, cosine = (mean(mine, key) for key in METRICS)
        failed = sum(bool(row["error"]) for row in mine)
        others.append(
            [name, f"{auc:.3f}", f"{1e3 * place:.1f}", f"{nmse:.2f}", f"{cosine:.2f}",
             f"{mean(mine, 'seconds'):.3f}", f"{failed} / {len(mine)}"]
        )  # fmt: skip
    heads = [
        [h, *(f"{mean(select(solver='piunet', head=h, line=k), 'emd'):.3f}" for k in lines)]
        for h in dict.fromkeys(row["head"] for row in select(solver="piunet"))
    ]
    return "\n\n".join(
        [
            markdown(["normalized EMD", *lines], emd),
            markdown(["all lines", *METRICS.values(), "seconds", "failed"], others),
            markdown(["piunet, EMD", *lines], heads),
        ]
    )


def read_rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
