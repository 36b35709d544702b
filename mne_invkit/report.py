"""Reports: solvers side by side, their settings, pictures, convergence and fit."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit._html import html_table
from mne_invkit.heads.regions import region_name
from mne_invkit.heads.template import SUBJECT
from mne_invkit.inverse.result import Result
from mne_invkit.viz.estimate import plot_estimate
from mne_invkit.viz.findings import drawn_unit
from mne_invkit.viz.fit import plot_convergence, plot_sensor_fit
from mne_invkit.viz.snapshot import Snapshot, take_snapshot

_TAGS = ("inverse",)
_PACKAGES = ("mne_invkit", "mne", "numpy", "scipy", "nilearn")


@verbose
@fill_doc
def make_report(
    results: Mapping[str, Result],
    evoked: mne.Evoked,
    forward: mne.Forward,
    *,
    subject: str | None = None,
    subjects_dir=None,
    trans=None,
    times: Sequence[float] | None = None,
    title: str = "Source estimates",
    verbose=None,
) -> mne.Report:
    """Report on one or more solvers applied to the same data.

    Parameters
    ----------
    results : dict of Result
        Name of each solver and its result, see :class:`mne_invkit.inverse.result.Result`.
    evoked : mne.Evoked
        The data.
    forward : mne.Forward
        The forward solution the estimates were made with.
    %(subject_of_stc)s
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI, by default that of the forward solution.
    times : sequence of float | None
        Times in s at which every solver is drawn. None draws each of them at the times of all
        solvers' maxima.
    title : str
        Title of the report.
    %(verbose)s

    Returns
    -------
    report : mne.Report
        The report. Save it with ``report.save("report.html")``.

    Examples
    --------
    >>> from mne_invkit import make_report
    >>> report = make_report({"Champagne": result}, evoked, forward)  # doctest: +SKIP
    """
    if not results:
        raise ValueError("results is empty: pass a dict of at least one solver's result.")
    trans = forward["mri_head_t"] if trans is None else trans
    where = {"subject": subject, "subjects_dir": subjects_dir, "trans": trans}
    src = forward["src"]
    peaks = {name: take_snapshot(result.stc, src, **where) for name, result in results.items()}
    figures = {name: _figures(result, peaks[name]) for name, result in results.items()}
    if times is None or not len(times):
        times = [snapshot.time for snapshot in peaks.values()]

    report = mne.Report(title=title)
    report.add_html(_comparison(figures), "Summary", tags=_TAGS, section="Summary")
    for name, result in results.items():
        add = {"tags": _TAGS, "section": name}
        settings = html_table(result.settings.items())
        tables = f"{html_table(figures[name].items())}<h5>Settings</h5>{settings}"
        report.add_html(tables, f"{name}: figures and settings", **add)
        for what, pictures in _pictures(name, result, evoked, src, times, where):
            _add_figures(report, pictures, f"{name}: {what}", add)
    packages = {name: import_module(name).__version__ for name in _PACKAGES}
    provenance = {"Python": platform.python_version(), "System": platform.platform(), **packages}
    report.add_html(html_table(provenance.items()), "Versions", tags=_TAGS, section="Provenance")
    return report


# %% Pictures


def _pictures(name, result, evoked, src, times, where) -> Iterator[tuple[str, list]]:
    """Titles and figures of one solver."""
    stc, (_, unit) = result.stc, drawn_unit(result.unit)
    indices = {int(np.abs(stc.times - time).argmin()) for time in times}
    yield (
        "estimate",
        [
            plot_estimate(stc, src, time=stc.times[k], title=name, unit=unit, **where)
            for k in sorted(indices)
        ],
    )
    if result.cost is not None and len(result.cost):
        yield "convergence", [plot_convergence(result.cost)]
    for title, figure in result.figures().items():
        yield title, [figure]
    yield "fit to the sensors", [plot_sensor_fit(evoked, result.residual)]


def _add_figures(report: mne.Report, figures: list, title: str, options: dict) -> None:
    """Add figures, as slides if there are several, and close them."""
    try:
        report.add_figure(figures if len(figures) > 1 else figures[0], title, **options)
    finally:
        for figure in figures:
            plt.close(figure)


# %% Figures and tables


def _figures(result: Result, snapshot: Snapshot) -> dict[str, str]:
    """Figures of one solver, by name."""
    peak, (scale, unit) = snapshot.peak(), drawn_unit(result.unit)
    figures = {
        "Estimate": f"{type(result.stc).__name__}, {len(result.stc.data)} locations",
        "Explained variance": f"{result.explained_variance:.1f} %",
    }
    if peak.position is None:
        figures["Peak"] = "no source is active"
    else:
        x, y, z = peak.position
        figures["Peak"] = f"{scale * peak.value:.3g} {unit} at {1e3 * peak.time:.0f} ms"
        figures["Peak position"] = f"({x:.0f}, {y:.0f}, {z:.0f}) mm, MRI frame"
        if snapshot.folder is not None and snapshot.folder.name == SUBJECT:
            figures["Peak region"] = region_name(peak.position)
    if result.cost is not None and len(result.cost):
        figures["Iterations"] = str(len(result.cost))
        figures["Final cost"] = f"{result.cost[-1]:.6g}"
    figures["Code"] = result.code
    return figures


def _comparison(figures: dict[str, dict[str, str]]) -> str:
    """HTML table of solvers (columns) by figures (rows)."""
    rows = list(dict.fromkeys(row for column in figures.values() for row in column))
    cells = [(row, *(column.get(row, "–") for column in figures.values())) for row in rows]
    return html_table(cells, header=("", *figures))
