"""Reports: solvers side by side, their settings, pictures, convergence and fit."""

from __future__ import annotations

import html
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.figure import Figure
from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit._files import write_whole
from mne_invkit._html import html_table
from mne_invkit.inverse.problem import Instance
from mne_invkit.inverse.result import Result
from mne_invkit.viz.courses import plot_time_courses
from mne_invkit.viz.entries import (
    Entry,
    Results,
    make_entries,
    make_table,
    snapshots_of,
    where_sources_are,
)
from mne_invkit.viz.estimate import plot_estimate
from mne_invkit.viz.findings import drawn_unit
from mne_invkit.viz.fit import (
    plot_convergence,
    plot_response,
    plot_sensor_fit,
)

_TAGS = ("inverse",)
_LITTLE = 10.0  # percent of the whitened data; less is hardly an explanation
_LONG = 4.0  # s; of longer data, such as Raw, so much around the response is drawn
_DPI = 150
_PACKAGES = ("mne-invkit", "mne", "numpy", "scipy", "nilearn")


@verbose
@fill_doc
def make_report(
    results: Results,
    evoked: Instance,
    forward: mne.Forward,
    *,
    noise_cov: mne.Covariance | None = None,
    subject: str | None = None,
    subjects_dir: str | Path | None = None,
    trans: mne.transforms.Transform | str | Path | None = None,
    times: Sequence[float] | None = None,
    landmarks: Mapping[str, tuple] | None = None,
    unit: str = "A m",
    title: str = "Source estimates",
    folder: str | Path | None = None,
    verbose=None,
) -> mne.Report:
    """Report on one or more solvers applied to the same data.

    Parameters
    ----------
    %(results)s
    %(inst_of_results)s
    forward : mne.Forward
        The forward solution the estimates were made with.
    noise_cov : mne.Covariance | None
        The noise covariance, to be drawn.
    %(subject_of_stc)s
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI, by default that of the forward solution.
    times : sequence of float | None
        Times in s at which every estimate is drawn. By default that of the response: of the
        maximum of the global field power after the stimulus and its artifact.
    %(landmarks)s
    unit : str
        Unit of source estimates that are not results, such as ``"dSPM"``.
    title : str
        Title of the report.
    folder : path-like | None
        Folder into which the first picture of each estimate is written as well (PNG).
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
    entries = make_entries(results, evoked, forward, unit)
    where = where_sources_are(forward, subject, subjects_dir, trans)
    src = forward["src"]
    shots = [snapshots_of(entry, times, src, where) for entry in entries]

    report = mne.Report(title=title)
    add = {"tags": _TAGS, "section": "Summary"}
    first = [one[0] for one in shots]
    table = make_table(entries, first, landmarks)
    rows = html_table(table.itertuples(), header=("", *table.columns))
    report.add_html(rows, "Strongest sources", **add)
    for note in _notes(entries):
        report.add_html(f"<p>{note}</p>", "Note", **add)
    _add_data(report, entries, noise_cov)
    pairs = list(zip(entries, shots, strict=True))
    for solver in dict.fromkeys(entry.solver for entry in entries):
        own = [(entry, shots) for entry, shots in pairs if entry.solver == solver]
        _add_solver(report, own, src, where, folder)
    add = {"tags": _TAGS, "section": "Provenance"}
    report.add_html(html_table(_versions().items()), "Versions", **add)
    return report


# %% Pictures


def _add_data(report: mne.Report, entries: list[Entry], noise_cov) -> None:
    """Add what the estimates were made from: the responses and the noise covariance."""
    add = {"tags": _TAGS, "section": "Data"}
    responses = {entry.condition or "Response": entry for entry in entries}
    for name, entry in responses.items():
        time = entry.response_time()
        _add_figures(report, plot_response(_around(entry.evoked, time), time), name, add)
    if noise_cov is None:
        return
    info = entries[0].evoked.info
    shared = [name for name in noise_cov.ch_names if name in info.ch_names]
    noise_cov = mne.pick_channels_cov(noise_cov, shared, exclude=[])  # MNE draws no others
    if noise_cov["diag"]:  # MNE draws full ones only
        noise_cov = mne.Covariance(
            np.diag(noise_cov["data"]), noise_cov.ch_names, noise_cov["bads"], noise_cov["projs"],
            noise_cov["nfree"],
        )  # fmt: skip
    figures = mne.viz.plot_cov(noise_cov, info, show=False, verbose="error")
    _add_figures(report, list(figures), "Noise covariance", add)


def _add_solver(report: mne.Report, own: list, src, where, folder) -> None:
    """Add the section of a solver: what it found in each condition, and what it did."""
    solver, result = own[0][0].solver, own[0][0].result
    add = {"tags": _TAGS, "section": solver}
    for entry, snapshots in own:
        for what, figures in _pictures(entry, snapshots, src, where):
            if what == "estimate" and folder is not None:
                _save(figures[0], Path(folder), entry.name)
            _add_figures(report, figures, f"{entry.name}: {what}", add)
    if result is None:
        return
    for what, figure in _own_figures(result):
        _add_figures(report, [figure], f"{solver}: {what}", add)
    settings = {**result.settings, "code": result.code}
    report.add_html(html_table(settings.items()), f"{solver}: settings", **add)


def _pictures(entry: Entry, snapshots, src, where) -> Iterator[tuple[str, list]]:
    """Titles and figures of one estimate."""
    stc, (_, unit) = entry.stc, drawn_unit(entry.unit)
    yield (
        "estimate",
        [
            plot_estimate(stc, src, time=shot.time, title=entry.name, unit=unit, **where)
            for shot in snapshots
        ],
    )
    shot = snapshots[0]
    yield "time courses", [plot_time_courses(stc, src, shot, entry.unit)]
    if entry.residual is not None:
        data, left = (_around(one, shot.time) for one in (entry.evoked, entry.residual))
        yield "fit to the sensors", [plot_sensor_fit(data, left, time=shot.time)]


def _around(evoked: mne.Evoked, time: float) -> mne.Evoked:
    """Data around a time, if they are too long to be drawn."""
    if evoked.tmax - evoked.tmin <= _LONG:
        return evoked
    return evoked.copy().crop(
        max(evoked.tmin, time - _LONG / 2), min(evoked.tmax, time + _LONG / 2)
    )


def _own_figures(result: Result) -> Iterator[tuple[str, Figure]]:
    """Titles and figures of what a solver did."""
    if result.cost is not None and len(result.cost):
        yield "convergence", plot_convergence(result.cost)
    yield from result.figures().items()


def _add_figures(report: mne.Report, figures: list, title: str, options: dict) -> None:
    """Add figures, as slides if there are several, and close them."""
    for figure in figures:  # just above whole pixels: MNE shears pictures that round down
        pixels = np.rint(figure.get_size_inches() * figure.dpi)
        figure.set_size_inches((pixels + 0.1) / figure.dpi)
    try:
        report.add_figure(figures if len(figures) > 1 else figures[0], title, **options)
    finally:
        for figure in figures:
            plt.close(figure)


def _save(figure: Figure, folder: Path, name: str) -> None:
    """Write a picture under a name that every system allows."""
    name = re.sub(r"[^\w.-]+", "-", name)
    with write_whole(folder / f"{name}.png") as path:
        figure.savefig(path, dpi=_DPI)


# %% Tables and words


def _notes(entries: list[Entry]) -> Iterator[str]:
    """What a reader should know of the results before looking at them."""
    results = {entry.solver: entry.result for entry in entries if entry.result}
    for solver, result in results.items():
        if result.explained_variance < _LITTLE:
            yield (
                f"{html.escape(solver)} explains only {result.explained_variance:.1f} % of the "
                "whitened data. Most of a long window is noise: crop it to the response, "
                "<code>evoked.crop(tmin, tmax)</code>, and fit again."
            )
    yield (
        "Whitened data, which solvers explain, weigh each channel by its noise. Raw data weigh "
        "all channels of a type alike."
    )


def _versions() -> dict[str, str]:
    """System and versions, by name.

    ``Report.add_sys_info`` would import all optional packages of MNE and ask the network.
    """
    packages = {name: version(name) for name in _PACKAGES}
    return {"Python": platform.python_version(), "System": platform.platform(), **packages}
