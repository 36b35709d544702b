"""Figure of a training run."""

from __future__ import annotations

from pathlib import Path

from mne_invkit._files import write_whole
from mne_piunet.training.log import read_table
from mne_piunet.training.recipe import CURVES, LOG, SCORES


def plot_curves(folder: Path) -> None:
    """Draw loss and scores of a run over its steps, and write them as ``curves.png``.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the run, with ``log.csv`` and ``scores.csv``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    log, scores = (_columns(folder / name) for name in (LOG, SCORES))
    left.plot(log["step"], log["loss"], color="0.4", linewidth=0.8)
    left.set(xlabel="step", ylabel="loss")
    for name in list(scores)[2:]:
        right.plot(scores["step"], scores[name], marker=".", label=name)
    right.set(xlabel="step", ylabel="normalized EMD, unseen heads", ylim=(0, None))
    right.legend()
    with write_whole(folder / CURVES) as part:
        figure.savefig(part, dpi=100, format="png")


def _columns(path: Path) -> dict[str, list[float]]:
    """Read the columns of a table of numbers, by their names."""
    names, *rows = read_table(path)
    return {name: [float(row[k]) for row in rows] for k, name in enumerate(names)}
