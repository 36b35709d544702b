"""Command line ``mne-invkit``. Its commands import what they need when they run."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from importlib.metadata import entry_points, version
from pathlib import Path

from mne_invkit.cli import demo, solve, sys_info
from mne_invkit.cli.terminal import patient_streams, say, short_warnings

COMMANDS = "mne_invkit.commands"
"""Entry points by which packages add commands: functions ``add(commands, common)``."""

_EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, ArithmeticError)
_LEVELS = ("WARNING", "INFO", "DEBUG")


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str | None
        Arguments; those of the process if None.

    Returns
    -------
    code : int
        0 for success, 1 for an error, 2 for wrong arguments, and 130 when interrupted.
    """
    verbose = 0
    with patient_streams():
        try:
            args = _parse(argv)
            verbose = args.verbose
            _run(args)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return 130
        except Exception as error:
            if verbose > 1:
                raise
            say("error", _explain(error))
            return 1
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the arguments; `files` may also stand behind and between options."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "files") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:
        args.files += map(Path, rest)
    return args


def _run(args) -> None:
    """Run a command with the log level and the warnings that the user asked for."""
    import mne

    level = "ERROR" if args.quiet else _LEVELS[min(args.verbose, 2)]
    args.solver_level = "INFO" if level == "WARNING" else level
    with mne.use_log_level(level), nullcontext() if args.verbose > 1 else short_warnings():
        args.run(args)
    sys.stdout.finish()


def _explain(error: Exception) -> str:
    """Text of an error; one that no user can make is called a fault of ours."""
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return f"There is not enough memory: pass a shorter window or fewer locations. {text}"
    from numpy.linalg import LinAlgError

    ours = (LinAlgError, ZeroDivisionError, RecursionError)
    if isinstance(error, _EXPECTED) and not isinstance(error, ours):
        return text
    return (
        f"{type(error).__name__}: {text}. This is a fault of ours or of a plugin: run again with "
        "-vv for the traceback, and please report it."
    )


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    much = common.add_mutually_exclusive_group()
    much.add_argument(
        "--verbose", "-v", action="count", default=0, help="tell more (-vv: debug, tracebacks)"
    )
    much.add_argument("--quiet", "-q", action="store_true", help="no bar and no warning")
    parser = argparse.ArgumentParser(
        prog="mne-invkit", description="Inverse solutions for EEG and MEG, on top of MNE-Python."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('mne-invkit')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for module in (demo, solve, sys_info):
        module.add_command(commands, common)
    for entry in entry_points(group=COMMANDS):
        try:
            entry.load()(commands, common)
        except Exception as error:  # broken commands must not take the others down
            say("warning", f"The commands of {entry.value!r} are left out: {error!r}")
    return parser
