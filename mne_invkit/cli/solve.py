"""Command ``solve``: source estimates of the user's own files."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mne_invkit.cli.export import Output
    from mne_invkit.solvers.registry import Solver

_SPACINGS = ("ico2", "ico3", "ico4", "ico5", "oct4", "oct5", "oct6", "all")
_ENDS = r"([-_](ave|epo|eeg|meg|raw))?(\.fif(\.gz)?|\.\w+)$"


def add_command(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add ``solve`` to the commands. `common` has the options that all commands share."""
    parser = commands.add_parser("solve", parents=[common], help="source estimates of your data")
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE",
        help="data (-ave.fif, -epo.fif or continuous data in any format of MNE), forward solution "
        "(-fwd.fif; none with --template) and noise covariance of single trials (-cov.fif; default:"
        " an ad hoc one), in this order",
    )  # fmt: skip
    parser.add_argument("--template", action="store_true", help="take the head without an MRI")
    parser.add_argument(
        "--spacing", choices=_SPACINGS, help="source space of the template (default: ico4)"
    )
    parser.add_argument("--method", default="kronbayes", help="solver (default: %(default)s)")
    parser.add_argument(
        "--condition", dest="conditions", action="append", default=[],
        help="name, or for averages number from 0; repeat for more (default: the first average, "
        "all epochs)",
    )  # fmt: skip
    parser.add_argument("--tmin", type=float, help="start of the window in s")
    parser.add_argument("--tmax", type=float, help="end of the window in s")
    parser.add_argument(
        "--set", dest="options", action="append", default=[], metavar="NAME=VALUE",
        help="option of the solver, such as temporal=full, depth=0.5 or select=yes; repeat for "
        "more",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path,
        help="file to write: .h5, .stc, .nii, .nii.gz or .gii; of several estimates each gets a "
        "file with its name (default: DATA-METHOD-stc.h5)",
    )  # fmt: skip
    parser.add_argument(
        "--result", type=Path, help="file of all that was found to write (.h5), for read_result"
    )
    parser.add_argument("--report", type=Path, help="report to write (.html)")
    parser.add_argument("--subject", help="FreeSurfer subject for the pictures of the report")
    parser.add_argument("--subjects-dir", type=Path, help="folder of the FreeSurfer subjects")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from mne_invkit.cli.options import read_options
    from mne_invkit.solvers.registry import get_solver

    solver = get_solver(args.method)
    _name_files(args)
    output = _check_outputs(args)
    options = read_options(solver, args.options)
    output.check_scalar(options.get("pick_ori") == "vector", is_complex=False)
    _check_solver(solver, args)
    _check_inputs(args)
    _solve(args, solver, options, output)


# %% Before anything is read


def _name_files(args) -> None:
    """Tell the files apart by their order."""
    data, forward, noise_cov, *more = [*args.files, None, None]
    if args.template:
        more, forward, noise_cov = [noise_cov, *more], None, forward
    if any(more):
        role = "with --template" if args.template else "the last is the noise covariance"
        raise ValueError(
            f"There are {len(args.files)} files, too many ({role}): pass the data, the forward "
            "solution (none with --template) and the noise covariance."
        )
    if forward is None and not args.template:
        raise ValueError(
            "There is no forward solution: pass its file (-fwd.fif) after the data, or, for EEG "
            "without an MRI, --template."
        )
    args.data, args.forward, args.noise_cov = data, forward, noise_cov


def _check_outputs(args) -> Output:
    """Find where the estimate goes; raise if it, or the report, cannot be written."""
    from mne_invkit.cli.export import Output, check_output

    stem = re.sub(_ENDS, "", args.data.name)
    default = args.data.parent / f"{stem}-{args.method}-stc.h5"
    output = Output.parse(args.output or default)
    output.check(args.overwrite, args.files)
    if args.result:
        if args.result.suffix != ".h5":
            raise ValueError(f"--result must end in .h5; got {args.result}.")
        _check_result(args.result, output.files())
        check_output(args.result, args.overwrite, args.files)
    if args.report:
        if args.report.suffix != ".html":
            raise ValueError(f"--report must end in .html; got {args.report}.")
        check_output(args.report, args.overwrite, args.files)
    return output


def _check_result(result: Path | None, files: list[Path]) -> None:
    """Raise if the result would replace one of the files of the estimate."""
    if result and result.resolve() in [path.resolve() for path in files]:
        raise ValueError(f"--result must be another file than that of the estimate; got {result}.")


def _check_solver(solver: Solver, args) -> None:
    """Raise if the solver cannot run."""
    if solver.missing:
        raise ImportError(f"{solver.name} needs {solver.missing}: install one of them by pip.")
    *_, noise_cov = list(inspect.signature(solver.fit).parameters.values())[:3]
    if args.noise_cov is None and noise_cov.default is noise_cov.empty:
        raise ValueError(f"{solver.name} needs a noise covariance: pass its file (-cov.fif).")


def _check_inputs(args) -> None:
    """Raise unless the files are there."""
    from mne_invkit.cli.files import check_file

    if args.spacing and not args.template:
        raise ValueError("--spacing is that of the template: pass --template as well, or neither.")
    if args.subjects_dir is not None and not args.subjects_dir.is_dir():
        raise FileNotFoundError(f"There is no folder {args.subjects_dir} (--subjects-dir).")
    if args.subject and args.subjects_dir and not (args.subjects_dir / args.subject).is_dir():
        raise FileNotFoundError(
            f"There is no folder {args.subjects_dir / args.subject}: --subject is its name in "
            "--subjects-dir."
        )
    for path in args.files:
        check_file(path, folder=path is args.data)


# %% The work


def _solve(args, solver: Solver, options: dict, output: Output) -> None:
    """Read, solve and write."""
    import mne

    from mne_invkit.cli.files import read, read_data, read_forward
    from mne_invkit.heads.template import template_forward

    inst, names = read_data(args.data, args.conditions, args.tmin, args.tmax)
    outputs = [output.named(name) for name in names] or [output]
    _check_all(outputs, args, inst)
    noise_cov = args.noise_cov and read(mne.read_cov, args.noise_cov, "cov")
    if args.template:
        first = inst[0] if isinstance(inst, list) else inst
        print("Preparing the template head (half a minute the first time) ...")
        forward = template_forward(first.info, spacing=args.spacing or "ico4")
    else:
        forward = read_forward(args.forward)
    output.check_holds(forward["src"])

    result = solver.fit(inst, forward, noise_cov, verbose=args.solver_level, **options)
    stcs = result.stc if names else [result.stc]
    written = [o.write(stc, forward["src"]) for o, stc in zip(outputs, stcs, strict=True)]
    print(f"{solver.name} explains {result.explained_variance:.1f}% of the whitened data.")
    files = [str(path) for paths in written for path in paths]
    more = f" and {len(files) - 4} more" if len(files) > 4 else ""
    print(f"Estimate in {result.unit}: {', '.join(files[:4])}{more}")
    if args.result:
        result.save(args.result, overwrite=True)
        print(f"Result: {args.result}")
    if args.report:
        _write_report(args, solver.name, result, inst, forward, noise_cov)


def _check_all(outputs: list[Output], args, inst) -> None:
    """Raise if one of several estimates, or the report, cannot be written."""
    import mne
    import numpy as np

    files = [path for output in outputs for path in output.files()]
    if len(set(files)) < len(files):
        raise ValueError("Two conditions have the same name for files: pass them one by one.")
    _check_result(args.result, files)
    for output in outputs:
        output.check(args.overwrite, args.files)
    insts = inst if isinstance(inst, list) else [inst]
    is_complex = any(np.iscomplexobj(i.data) for i in insts if isinstance(i, mne.Evoked))
    outputs[0].check_scalar(vector=False, is_complex=is_complex)


def _write_report(args, name: str, result, inst, forward, noise_cov) -> None:
    """Write a report."""
    from mne_invkit._files import write_whole
    from mne_invkit.report import make_report

    report = make_report(
        {name: result}, inst, forward, noise_cov=noise_cov, subject=args.subject,
        subjects_dir=args.subjects_dir,
    )  # fmt: skip
    with write_whole(args.report) as made:
        report.save(made, open_browser=False, overwrite=True)
    print(f"Report: {args.report}")
