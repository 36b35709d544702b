"""Command of ``mne-invkit`` that this package adds."""

from __future__ import annotations

from pathlib import Path


def add_commands(commands, common) -> None:
    """Add ``distill-vision`` to the commands; `common` has the options that all share."""
    parser = commands.add_parser(
        "distill-vision", parents=[common],
        help="distill a classifier of images to some of its classes",
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="folder of the run, resumed if there is one")
    parser.add_argument("--config", type=Path, help="what to do (.yaml)")
    parser.add_argument(
        "--set", dest="options", action="append", default=[], metavar="NAME=VALUE",
        help="entry of the configuration, such as objective=kd, classes=[cat,dog] or "
        "recipe.epochs=20; repeat for more",
    )  # fmt: skip
    parser.set_defaults(run=_distill_vision)


def _distill_vision(args) -> None:
    try:
        from subdistill.vision.run import read_config, run
    except ImportError as error:
        raise ImportError(f'{error}. This needs pip install "mne-invkit[vision]".') from error
    for name, value in run(read_config(args.config, args.options), args.folder).items():
        print(f"{name}: {value}")
