"""Command ``demo``: the response of the cortex to a stimulus of the median nerve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mne_invkit._files import check_new

if TYPE_CHECKING:
    import mne

    from mne_invkit.inverse.result import Result
    from mne_invkit.viz.snapshot import Peak

HAND_AREA = (-42.0, -25.0, 55.0)
"""Hand area of the left hemisphere (mm, MNI), which responds to the right median nerve."""


def add_command(commands, common) -> None:
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
    peaks = run_demo(args.output, methods)
    print("\nStrongest source at the maximum of the global field power:")
    for method, (peak, unit) in peaks.items():
        print(f"  {method:12s} {describe_peak(peak, unit)}")
    print(f"Report and pictures: {args.output / 'report.html'}")


def run_demo(folder: Path, methods: list[str]) -> dict[str, tuple[Peak, str]]:
    """Estimate the sources of the SEP by each method; write estimates, pictures and a report.

    Parameters
    ----------
    folder : pathlib.Path
        Folder to write to. It must exist.
    methods : list of str
        Names of registered solvers.

    Returns
    -------
    peaks : dict of tuple
        For each method the strongest source at the maximum of the global field power, and the
        unit of the estimate.
    """
    from mne_invkit.datasets import load_sep
    from mne_invkit.heads.template import SUBJECT, template_forward, template_subjects_dir
    from mne_invkit.report import make_report
    from mne_invkit.solvers.registry import get_solver
    from mne_invkit.viz.snapshot import take_snapshot

    print("Preparing the recording and the template head (half a minute the first time) ...")
    sep = load_sep()
    evoked = sep.evoked
    forward = template_forward(evoked.info)
    time = evoked.times[evoked.data.std(axis=0).argmax()]
    results, peaks = {}, {}
    for method in methods:
        print(f"{method}: estimating the sources ...")
        solver = get_solver(method)
        result = results[method] = solver.fit(evoked, forward, sep.noise_cov, verbose="INFO")
        result.stc.save(folder / f"{method}-stc.h5", ftype="h5", overwrite=True)
        snapshot = take_snapshot(result.stc, forward["src"], time=time)
        peaks[method] = snapshot.peak(), result.unit
        _write_pictures(folder, method, result, forward, time)
    print("Writing the report ...")
    report = make_report(
        results, evoked, forward, subject=SUBJECT, subjects_dir=template_subjects_dir(),
        times=[time], title="Median nerve SEP",
    )  # fmt: skip
    report.add_html(f"<p>{sep.citation}</p>", "Recording", section="Provenance")
    report.save(folder / "report.html", open_browser=False, overwrite=True)
    return peaks


def _write_pictures(
    folder: Path, method: str, result: Result, forward: mne.Forward, time: float
) -> None:
    """Write a picture of the cortex, and one in MNE's Brain where 3-D rendering works."""
    import matplotlib.pyplot as plt

    from mne_invkit.viz.brain import plot_brain
    from mne_invkit.viz.estimate import drawn_unit, plot_estimate

    _, unit = drawn_unit(result.unit)
    figure = plot_estimate(result.stc, forward["src"], time=time, title=method, unit=unit)
    figure.savefig(folder / f"{method}.png", dpi=150)
    plt.close(figure)
    try:
        brain = plot_brain(result.stc, time=time)
    except RuntimeError as error:
        print(f"{method}: MNE's Brain is left out. {error}")
        return
    brain.save_image(folder / f"{method}-brain.png")
    brain.close()


def describe_peak(peak: Peak, unit: str = "A m") -> str:
    """Say when and where a peak is.

    Parameters
    ----------
    peak : Peak
        The strongest source at one time.
    unit : str
        Unit of the estimate.

    Returns
    -------
    text : str
        Time, magnitude, position, region, and distance to the left hand area.
    """
    import numpy as np

    from mne_invkit.heads.regions import region_name
    from mne_invkit.viz.estimate import drawn_unit

    if peak.position is None:
        return "no source is active"
    factor, unit = drawn_unit(unit)
    x, y, z = peak.position
    distance = np.linalg.norm(peak.position - HAND_AREA)
    return (
        f"at {1e3 * peak.time:.1f} ms {factor * peak.value:.2f} {unit} at MNI ({x:.0f}, {y:.0f}, "
        f"{z:.0f}) mm, {region_name(peak.position)}, {distance:.0f} mm from the left hand area"
    )
