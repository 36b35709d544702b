"""Picture of a training run."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def plot_curves(folder: Path):
    """Draw loss and scores of a run over its steps.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the run, with ``log.csv`` and ``scores.csv``.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    log, scores = (
        np.genfromtxt(folder / name, delimiter=",", names=True, deletechars="", ndmin=1)
        for name in ("log.csv", "scores.csv")
    )
    left.plot(log["step"], log["loss"], color="0.4", linewidth=0.8)
    left.set(xlabel="step", ylabel="loss")
    for name in scores.dtype.names[2:]:
        right.plot(scores["step"], scores[name], marker=".", label=name.replace("_", " "))
    right.set(xlabel="step", ylabel="normalized EMD, unseen heads", ylim=(0, None))
    right.legend()
    return figure
