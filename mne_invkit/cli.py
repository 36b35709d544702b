"""Command line ``mne-invkit``: thin; solvers come from the registry."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import mne

COMMANDS = "mne_invkit.commands"
"""Entry points ``add(commands, common)`` by which packages add commands of their own."""

_PYTHON = {"None": "null", "True": "true", "False": "false"}


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str | None
        Arguments; those of the process if None.

    Returns
    -------
    code : int
        0, or 1 for a mistake of the user's, 130 when interrupted (2 for wrong arguments).
    """
    args = _parser().parse_args(argv)
    level = {0: "WARNING", 1: "INFO"}.get(args.verbose, "DEBUG")
    try:
        with mne.use_log_level(level):
            args.run(args)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        if args.verbose > 1:
            raise
        print(f"mne-invkit: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--verbose", "-v", action="count", default=0, help="tell more (-vv: debug, tracebacks)"
    )
    parser = argparse.ArgumentParser(
        prog="mne-invkit", description="Inverse solutions for EEG and MEG, on top of MNE-Python."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", parents=[common], help="sources of a real EEG: report, pictures, estimates"
    )
    demo.add_argument("--output", type=Path, default=Path("invkit-demo"), help="folder to write")
    demo.add_argument("--overwrite", action="store_true", help="write into an existing folder")
    demo.add_argument("--method", action="append", help="solver; repeat for more (default: all)")
    demo.set_defaults(run=_demo)

    solve = commands.add_parser("solve", parents=[common], help="source estimate of your data")
    solve.add_argument("evoked", type=Path, help="file with Evokeds (-ave.fif)")
    solve.add_argument("forward", type=Path, help="forward solution (-fwd.fif)")
    solve.add_argument("noise_cov", type=Path, help="noise covariance (-cov.fif)")
    solve.add_argument("--method", default="kronbayes", help="solver (default: %(default)s)")
    solve.add_argument("--condition", help="name or number, from 0, of the Evoked (default: 0)")
    solve.add_argument("--tmin", type=float, help="start of the window in s")
    solve.add_argument("--tmax", type=float, help="end of the window in s")
    solve.add_argument(
        "--set", dest="options", action="append", default=[], metavar="NAME=VALUE",
        help="option of the solver, such as temporal=full or depth=0.5; repeat for more",
    )  # fmt: skip
    solve.add_argument("--output", type=Path, help="file to write (default: EVOKED-METHOD-stc.h5)")
    solve.add_argument("--report", type=Path, help="report to write as well (.html)")
    solve.add_argument("--subject", help="FreeSurfer subject for the pictures of the report")
    solve.add_argument("--subjects-dir", type=Path, help="folder of the FreeSurfer subjects")
    solve.add_argument("--overwrite", action="store_true", help="replace existing output")
    solve.set_defaults(run=_solve)

    info = commands.add_parser("sys-info", parents=[common], help="versions and solvers")
    info.set_defaults(run=_sys_info)
    for entry in entry_points(group=COMMANDS):
        entry.load()(commands, common)
    return parser


def _demo(args) -> None:
    from mne_invkit.demo import describe_peak, run_demo
    from mne_invkit.solvers import find_solvers, get_solver

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
    _check_output(args.output / "report.html", overwrite=True)
    peaks = run_demo(args.output, methods)
    print("\nStrongest source at the maximum of the global field power:")
    for method, peak in peaks.items():
        print(f"  {method:12s} {describe_peak(peak)}")
    print(f"Report and pictures: {args.output / 'report.html'}")


def _solve(args) -> None:
    from mne_invkit.solvers import get_solver

    solver = get_solver(args.method)
    options = dict(_option(text) for text in args.options)
    _check_options(solver, options)
    for path in (args.evoked, args.forward, args.noise_cov):
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    stem = re.sub(r"([-_]ave)?\.fif(\.gz)?$", "", args.evoked.name)
    output = args.output or args.evoked.with_name(f"{stem}-{args.method}-stc.h5")
    if output.suffix != ".h5":
        raise ValueError(f"--output must end in .h5, the format of every estimate; got {output}.")
    if args.report and args.report.suffix != ".html":
        raise ValueError(f"--report must end in .html; got {args.report}.")
    for path in filter(None, (output, args.report)):
        _check_output(path, args.overwrite)
    evoked = _read_evoked(args)
    forward = _read(mne.read_forward_solution, args.forward)
    noise_cov = _read(mne.read_cov, args.noise_cov)
    result = solver.fit(evoked, forward, noise_cov, verbose="INFO", **options)
    result.stc.save(output, ftype="h5", overwrite=True)
    print(f"{args.method} explains {result.explained_variance:.1f}% of the whitened data: {output}")
    if args.report:
        from mne_invkit.report import make_report

        report = make_report(
            {args.method: result}, evoked, forward, subject=args.subject,
            subjects_dir=args.subjects_dir,
        )  # fmt: skip
        report.save(args.report, open_browser=False, overwrite=True)
        print(f"Report: {args.report}")


def _option(text: str) -> tuple[str, object]:
    """Name and value of ``NAME=VALUE``; the value as Python or JSON has it, else a string."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--set takes NAME=VALUE, got {text!r}.")
    try:
        return name, json.loads(_PYTHON.get(value, value))
    except json.JSONDecodeError:
        return name, value


def _check_options(solver, options: dict) -> None:
    """Raise for an option that the solver does not have."""
    parameters = inspect.signature(solver.fit).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "verbose"]
    unknown = sorted(set(options).difference(names))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ValueError(
            f"{solver.name} has no option {', '.join(unknown)}; it has {', '.join(sorted(names))}."
        )


def _check_output(path: Path, overwrite: bool) -> None:
    """Can a file be written there, and may it."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: pass --overwrite, or another name.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: choose another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist: make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: choose another folder.")


def _read(reader, path: Path):
    """Read a file; whatever MNE stumbles over, the error says where."""
    try:
        return reader(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_evoked(args) -> mne.Evoked:
    """Read the condition asked for and crop it."""
    evokeds = _read(mne.read_evokeds, args.evoked)
    wanted, names = args.condition or "0", [evoked.comment for evoked in evokeds]
    if args.condition in names:
        evoked = evokeds[names.index(args.condition)]
    elif wanted.isdecimal() and int(wanted) < len(evokeds):
        evoked = evokeds[int(wanted)]
    else:
        raise ValueError(f"{args.evoked} has no condition {wanted!r}, but {names}.")
    return evoked.crop(args.tmin, args.tmax)


def _sys_info(args) -> None:
    from importlib.metadata import version

    from mne_invkit.meshes import can_render
    from mne_invkit.solvers import find_solvers

    print(f"mne-invkit {version('mne-invkit')}")
    for solver in find_solvers().values():
        lack = f" (needs {solver.missing})" if solver.missing else ""
        print(f"  solver {solver.name}: {solver.description}{lack}")
    print(f"  3-D rendering: {'yes' if can_render() else 'no'}")
    mne.sys_info(check_version=False)
