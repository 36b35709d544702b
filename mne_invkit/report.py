"""Reports: solvers side by side, their settings, pictures, convergence and fit."""

from __future__ import annotations

import html
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.utils import verbose

from mne_invkit.heads.regions import region_name
from mne_invkit.heads.template import SUBJECT
from mne_invkit.viz.estimate import plot_estimate
from mne_invkit.viz.fit import plot_convergence, plot_sensor_fit
from mne_invkit.viz.snapshot import take_snapshot

_TAGS = ("inverse",)
_LONGEST = 300  # characters of a setting
_PACKAGES = ("mne_invkit", "mne", "numpy", "scipy", "nilearn")


@verbose
def make_report(
    results: Mapping[str, object],
    evoked: mne.Evoked,
    forward: mne.Forward,
    *,
    subject: str | None = None,
    subjects_dir=None,
    trans=None,
    times: Sequence[float] = (),
    unit: str = "nA m",
    title: str = "Source estimates",
    verbose=None,
) -> mne.Report:
    """Report on one or more solvers applied to the same data.

    Parameters
    ----------
    results : dict
        Name of each solver and its result: any object with the attributes ``stc``,
        ``residual`` (Evoked or None), ``explained_variance`` (percent or None), ``settings``
        (dict) and ``cost`` (vector or None), and perhaps a method ``extra_figures()`` that
        returns further figures by title.
    evoked : mne.Evoked
        The data.
    forward : mne.Forward
        The forward solution the estimates were made with.
    subject : str | None
        Subject, by default that of the estimate or of the forward solution.
    subjects_dir : path-like | None
        Folder of the subjects, by default the template's or ``SUBJECTS_DIR``.
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI, by default that of the forward solution.
    times : sequence of float
        Instants in s to draw, besides the peak of every solver.
    unit : str
        Unit of the estimates, as in :func:`mne_invkit.plot_estimate`.
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
    where = {"subject": subject, "subjects_dir": subjects_dir, "trans": trans}
    figures = {name: _figures(result, forward, unit, **where) for name, result in results.items()}
    times = [*times, *(_snapshot(result, forward, **where).time for result in results.values())]

    report = mne.Report(title=title)
    report.add_html(_comparison(figures), "Summary", tags=_TAGS, section="Summary")
    for name, result in results.items():
        add_result(report, name, result, evoked, forward, **where, times=times, unit=unit)
    packages = {name: import_module(name).__version__ for name in _PACKAGES}
    provenance = {"Python": platform.python_version(), "System": platform.platform(), **packages}
    report.add_html(html_table(provenance.items()), "Versions", tags=_TAGS, section="Provenance")
    return report


@verbose
def add_result(
    report: mne.Report,
    name: str,
    result,
    evoked: mne.Evoked,
    forward: mne.Forward,
    *,
    subject: str | None = None,
    subjects_dir=None,
    trans=None,
    times: Sequence[float] = (),
    unit: str = "nA m",
    verbose=None,
) -> None:
    """Add a section on one solver to a report.

    Parameters
    ----------
    report : mne.Report
        The report to add to.
    name : str
        Name of the solver, the title of the section.
    result : object
        Its result, see :func:`make_report`.
    evoked : mne.Evoked
        The data.
    forward : mne.Forward
        The forward solution the estimate was made with.
    subject : str | None
        Subject, by default that of the estimate or of the forward solution.
    subjects_dir : path-like | None
        Folder of the subjects, by default the template's or ``SUBJECTS_DIR``.
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI, by default that of the forward solution.
    times : sequence of float
        Instants in s to draw, besides the peak.
    unit : str
        Unit of the estimate, as in :func:`mne_invkit.plot_estimate`.
    %(verbose)s
    """
    where = {"subject": subject, "subjects_dir": subjects_dir, "trans": trans}
    add = {"tags": _TAGS, "section": name}
    figures = _figures(result, forward, unit, **where)
    tables = f"{html_table(figures.items())}<h5>Settings</h5>{html_table(result.settings.items())}"
    report.add_html(tables, f"{name}: figures and settings", **add)

    stc = result.stc
    peak = _snapshot(result, forward, **where).time
    indices = {int(np.abs(stc.times - time).argmin()) for time in (peak, *times)}
    where["trans"] = _trans(forward, trans)
    pictures = [
        plot_estimate(stc, forward["src"], time=stc.times[k], title=name, unit=unit, **where)
        for k in sorted(indices)
    ]
    _add_figures(report, pictures, f"{name}: estimate", add)
    if result.cost is not None and len(result.cost):
        _add_figures(report, [plot_convergence(result.cost)], f"{name}: convergence", add)
    for title, picture in getattr(result, "extra_figures", dict)().items():
        _add_figures(report, [picture], f"{name}: {title}", add)
    if result.residual is not None:
        picture = plot_sensor_fit(evoked, result.residual)
        _add_figures(report, [picture], f"{name}: fit to the sensors", add)


def _add_figures(report: mne.Report, figures: list, title: str, options: dict) -> None:
    """Add figures, as slides if there are several, and close them."""
    try:
        report.add_figure(figures if len(figures) > 1 else figures[0], title, **options)
    finally:
        for figure in figures:
            plt.close(figure)


# %% Figures and tables


def _trans(forward: mne.Forward, trans):
    return forward["mri_head_t"] if trans is None else trans


def _snapshot(result, forward, subject, subjects_dir, trans):
    """Magnitudes of a result at the time of its peak."""
    return take_snapshot(
        result.stc,
        forward["src"],
        subject=subject,
        subjects_dir=subjects_dir,
        trans=_trans(forward, trans),
    )


def _figures(result, forward, unit, **where) -> dict[str, str]:
    """Figures of one solver, by name."""
    snapshot = _snapshot(result, forward, **where)
    peak = snapshot.peak()
    scale = 1e9 if unit == "nA m" else 1.0
    figures = {"Estimate": f"{type(result.stc).__name__}, {len(result.stc.data)} sources"}
    if result.explained_variance is not None:
        figures["Explained variance"] = f"{result.explained_variance:.1f} %"
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
    package = type(result).__module__.split(".")[0]
    code = getattr(sys.modules.get(package), "__version__", "")
    figures["Code"] = f"{package} {code}".strip()
    return figures


def _comparison(figures: dict[str, dict[str, str]]) -> str:
    """HTML table of solvers (columns) by figures (rows)."""
    rows = list(dict.fromkeys(row for column in figures.values() for row in column))
    cells = [(row, *(column.get(row, "–") for column in figures.values())) for row in rows]
    return html_table(cells, header=("", *figures))


def html_table(rows: Iterable[tuple], header: tuple = ()) -> str:
    """HTML table whose first column is a heading; everything is escaped.

    Parameters
    ----------
    rows : iterable of tuple
        The cells of each row.
    header : tuple
        The cells of the header, none if empty.

    Returns
    -------
    table : str
        HTML.
    """
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<table class="table table-sm table-hover w-auto">{head}<tbody>{body}</tbody></table>'


def _text(value) -> str:
    """Short escaped text of a value."""
    if isinstance(value, np.ndarray) and value.size > 8:
        value = f"array of shape {value.shape}"
    elif isinstance(value, float | np.floating):
        value = f"{value:.6g}"
    text = str(value)
    return html.escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
