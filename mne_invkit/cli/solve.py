"""Command ``solve``: a source estimate of the user's own files."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mne_invkit._files import check_new
from mne_invkit.cli.files import read

if TYPE_CHECKING:
    import mne

_PYTHON = {"None": "null", "True": "true", "False": "false"}


def add_command(commands, common) -> None:
    """Add ``solve`` to the commands. `common` has the options that all commands share."""
    parser = commands.add_parser("solve", parents=[common], help="source estimate of your data")
    parser.add_argument("evoked", type=Path, help="file with Evokeds (-ave.fif)")
    parser.add_argument("forward", type=Path, help="forward solution (-fwd.fif)")
    parser.add_argument("noise_cov", type=Path, help="noise covariance (-cov.fif)")
    parser.add_argument("--method", default="kronbayes", help="solver (default: %(default)s)")
    parser.add_argument("--condition", help="name or number, from 0, of the Evoked (default: 0)")
    parser.add_argument("--tmin", type=float, help="start of the window in s")
    parser.add_argument("--tmax", type=float, help="end of the window in s")
    parser.add_argument(
        "--set", dest="options", action="append", default=[], metavar="NAME=VALUE",
        help="option of the solver, such as temporal=full or depth=0.5; repeat for more",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="file to write (default: EVOKED-METHOD-stc.h5)")
    parser.add_argument("--report", type=Path, help="report to write as well (.html)")
    parser.add_argument("--subject", help="FreeSurfer subject for the pictures of the report")
    parser.add_argument("--subjects-dir", type=Path, help="folder of the FreeSurfer subjects")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    import mne

    from mne_invkit.report import make_report
    from mne_invkit.solvers.registry import get_solver

    solver = get_solver(args.method)
    options = dict(_option(text) for text in args.options)
    _check_options(solver, options)
    for path in (args.evoked, args.forward, args.noise_cov):
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
    stem = re.sub(r"([-_]ave)?\.fif(\.gz)?$", "", args.evoked.name)
    output = args.output or args.evoked.with_name(f"{stem}-{args.method}-stc.h5")
    if output.suffix != ".h5":
        raise ValueError(f"--output must end in .h5, a format for all estimates; got {output}.")
    if args.report and args.report.suffix != ".html":
        raise ValueError(f"--report must end in .html; got {args.report}.")
    for path in filter(None, (output, args.report)):
        check_new(path, args.overwrite, how="--overwrite")
    evoked = _read_evoked(args)
    forward = read(mne.read_forward_solution, args.forward)
    noise_cov = read(mne.read_cov, args.noise_cov)
    result = solver.fit(evoked, forward, noise_cov, verbose="INFO", **options)
    result.stc.save(output, ftype="h5", overwrite=True)
    print(f"{args.method} explains {result.explained_variance:.1f}% of the whitened data: {output}")
    if args.report:
        report = make_report(
            {args.method: result}, evoked, forward, subject=args.subject,
            subjects_dir=args.subjects_dir,
        )  # fmt: skip
        report.save(args.report, open_browser=False, overwrite=True)
        print(f"Report: {args.report}")


def _option(text: str) -> tuple[str, object]:
    """Name and value of ``NAME=VALUE``. The value is Python or JSON, or else a string."""
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


def _read_evoked(args) -> mne.Evoked:
    """Read the condition that the user asked for and crop it."""
    import mne

    evokeds = read(mne.read_evokeds, args.evoked)
    wanted, names = args.condition or "0", [evoked.comment for evoked in evokeds]
    if args.condition in names:
        evoked = evokeds[names.index(args.condition)]
    elif wanted.isdecimal() and int(wanted) < len(evokeds):
        evoked = evokeds[int(wanted)]
    else:
        raise ValueError(f"{args.evoked} has no condition {wanted!r}, but {names}.")
    return evoked.crop(args.tmin, args.tmax)
