"""Command ``demo``: the response of the cortex to a stimulus of the median nerve."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mne_invkit._files import check_new, write_whole

if TYPE_CHECKING:
    import mne
    import pandas as pd

    from mne_invkit.datasets import Recording

HAND_AREA = (-42.0, -25.0, 55.0)
"""Hand area of the left hemisphere (mm, MNI), which responds to the right median nerve."""

_SOLVE = "from mne_invkit.heads.template import template_bem; template_bem(verbose='ERROR')"


def add_command(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add ``demo`` to the commands. `common` has the options that all commands share."""
    parser = commands.add_parser(
        "demo", parents=[common], help="sources of a real EEG: report, pictures, estimates"
    )
    parser.add_argument("--output", type=Path, default=Path("invkit-demo"), help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="write into an existing folder")
    parser.add_argument("--method", action="append", help="solver; repeat for more (default: all)")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from mne_invkit.solvers.registry import find_solvers, get_solver

    methods = args.method or []
    for name, solver in find_solvers().items() if not methods else ():
        if solver.missing:
            print(f"{name} is left out: it needs {solver.missing} (pip install).")
        else:
            methods.append(name)
    for method in methods:
        get_solver(method)
    if args.output.is_file() or (args.output.exists() and not args.overwrite):
        raise FileExistsError(
            f"{args.output} exists: pass another --output, or, for a folder, --overwrite."
        )
    args.output.mkdir(parents=True, exist_ok=True)
    check_new(args.output / "report.html", overwrite=True)
    table = run_demo(args.output, list(dict.fromkeys(methods)))
    print("\nStrongest source at the maximum of the global field power:")
    for method, words in table.iterrows():
        print(f"  {method:12s} {in_words(words)}")
    print(f"Report and pictures: {args.output / 'report.html'}")


def run_demo(folder: Path, methods: list[str]) -> pd.DataFrame:
    """Estimate the sources of the SEP by each method; write estimates, pictures and a report.

    Parameters
    ----------
    folder : pathlib.Path
        Folder to write to. It must exist.
    methods : list of str
        Names of registered solvers.

    Returns
    -------
    table : pandas.DataFrame
        The strongest source of each method, as in the report.
    """
    from mne_invkit._threads import one_thread
    from mne_invkit.solvers.registry import get_solver

    results = {}
    with one_thread(), _steps(2 + 2 * len(methods)) as step:
        with step("head model (longer the first time)"):
            sep, forward = _prepare()
        for method in methods:
            with step(f"sources by {method}"):
                solver = get_solver(method)
                results[method] = solver.fit(sep.evoked, forward, sep.noise_cov)
            with step(f"pictures of {method}"):
                _write_estimate(folder, method, results[method], sep)
        with step("report"):
            return _write_report(folder, results, sep, forward)


def in_words(words: pd.Series) -> str:
    """Write a row of the table as a line.

    Parameters
    ----------
    words : pandas.Series
        Words by the names of the columns.

    Returns
    -------
    line : str
        The words as a sentence.
    """
    parts, explained = [], []
    for name, word in words.items():
        if name.startswith("From"):
            parts.append(f"{word} {name[0].lower()}{name[1:]}")
        elif name.startswith("Explained"):
            explained.append(f"{word} ({name.partition(', ')[2]})")
        else:
            parts.append(word)
    return ", ".join([*parts, f"explains {' and '.join(explained)}"])


@contextmanager
def _steps(n_steps: int) -> Iterator:
    """Show a bar of the steps, with the name of the one that runs."""
    from mne.utils import logger
    from tqdm import tqdm

    form = "{desc:40s}{bar:20}{n_fmt}/{total_fmt}, {elapsed}"
    hidden = logger.getEffectiveLevel() > logging.WARNING or None  # None: unless it is a terminal
    with tqdm(total=n_steps, bar_format=form, leave=False, disable=hidden) as bar:

        @contextmanager
        def step(name: str):
            bar.set_description_str(name)
            yield
            bar.update()

        yield step


def _prepare() -> tuple[Recording, mne.Forward]:
    """Load the recording and make the forward solution.

    Another process solves the boundary-element method the first time, which is half of the work.
    """
    from mne_invkit.datasets import load_sep
    from mne_invkit.heads.template import (
        template_forward,
        template_source_space,
        template_subjects_dir,
    )
    from mne_invkit.viz.render import can_render

    template_subjects_dir()
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SOLVE]
    with subprocess.Popen(command, env=one_thread, stderr=subprocess.DEVNULL):
        sep = load_sep()
        template_source_space()
        can_render()
    return sep, template_forward(sep.evoked.info)


def _write_estimate(folder: Path, method: str, result, sep: Recording) -> None:
    """Write an estimate, and its picture in MNE's Brain where 3-D rendering works."""
    from mne_invkit.inverse.files import save_stc
    from mne_invkit.viz.brain import plot_brain
    from mne_invkit.viz.findings import drawn_unit
    from mne_invkit.viz.fit import response_time

    save_stc(result.stc, folder / f"{method}-stc.h5")
    try:
        brain = plot_brain(
            result.stc, time=response_time(sep.evoked), unit=drawn_unit(result.unit)[1]
        )
    except RuntimeError as error:
        print(f"{method}: MNE's Brain is left out. {error}")
        return
    brain.save_image(folder / f"{method}-brain.png")
    brain.close()


def _write_report(folder: Path, results: dict, sep: Recording, forward) -> pd.DataFrame:
    """Write the report, and the pictures in it as files; return its table."""
    from mne_invkit.heads.template import SUBJECT
    from mne_invkit.report import make_report
    from mne_invkit.viz.entries import peak_table

    words = {"subject": SUBJECT, "landmarks": {"left hand area": HAND_AREA}}
    report = make_report(
        results, sep.evoked, forward, noise_cov=sep.noise_cov, title="Median nerve SEP",
        folder=folder, **words,
    )  # fmt: skip
    report.add_html(f"<p>{sep.citation}</p>", "Recording", section="Provenance")
    with write_whole(folder / "report.html") as made:
        report.save(made, open_browser=False, overwrite=True)
    return peak_table(results, sep.evoked, forward, **words)
