"""Command ``sys-info``: versions and solvers, for bug reports."""

from __future__ import annotations

import argparse
from importlib.metadata import version


def add_command(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add ``sys-info`` to the commands. `common` has the options that all commands share."""
    parser = commands.add_parser("sys-info", parents=[common], help="versions and solvers")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    import mne

    from mne_invkit.solvers.registry import find_solvers
    from mne_invkit.viz.render import can_render

    print(f"mne-invkit {version('mne-invkit')}")
    for solver in find_solvers().values():
        lack = f" (needs {solver.missing})" if solver.missing else ""
        print(f"  solver {solver.name}: {solver.description}{lack}")
    print(f"  3-D rendering: {'yes' if can_render() else 'no'}")
    mne.sys_info(check_version=False)
