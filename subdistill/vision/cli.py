"""The command ``mne-invkit distill-vision``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add the command to ``mne-invkit``; `common` has the options of all commands."""
    parser = commands.add_parser(
        "distill-vision", parents=[common],
        help="distill an image classifier to some of its classes",
    )  # fmt: skip
    parser.add_argument(
        "folder", type=Path, help="folder of the run, which is resumed if it was stopped"
    )
    parser.add_argument("--config", type=Path, help="file of the configuration (.yaml)")
    parser.add_argument(
        "--set", dest="options", action="append", default=[], metavar="NAME=VALUE",
        help="entry of the configuration, such as objective=kd, classes=[cat,dog] or "
        "recipe.epochs=20; may be repeated",
    )  # fmt: skip
    parser.set_defaults(run=_distill_vision)


def _distill_vision(args) -> None:
    try:
        import yaml  # noqa: F401

        from subdistill.vision.config import read_config
        from subdistill.vision.run import run
    except ImportError as error:
        raise ImportError(f'{error}. This needs pip install "mne-invkit[vision]".') from error
    for name, value in run(read_config(args.config, args.options), args.folder).items():
        print(f"{name}: {value}")
