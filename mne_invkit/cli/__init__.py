"""Command line ``mne-invkit``. Its commands import what they need when they run."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import entry_points

from mne_invkit.cli import demo, solve, sys_info

COMMANDS = "mne_invkit.commands"
"""Entry points by which packages add commands: functions ``add(commands, common)``."""


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
    args = _parser().parse_args(argv)
    import mne

    level = {0: "WARNING", 1: "INFO"}.get(args.verbose, "DEBUG")
    try:
        with mne.use_log_level(level):
            args.run(args)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, ArithmeticError) as error:
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

    for module in (demo, solve, sys_info):
        module.add_command(commands, common)
    for entry in entry_points(group=COMMANDS):
        entry.load()(commands, common)
    return parser
