"""Commands that this package adds to ``mne-invkit``."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add the commands of this package.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        Where to add them.
    common : argparse.ArgumentParser
        Options that all commands share.
    """
    train = commands.add_parser(
        "train-piunet", parents=[common], help="train the network, or resume a training"
    )
    train.add_argument("folder", type=Path, help="folder of the run: recipe, log, checkpoint")
    train.add_argument("--recipe", type=Path, help="recipe (.json; default: that of the package)")
    train.add_argument("--heads", type=Path, help="folder of the heads (default: FOLDER/heads)")
    train.add_argument(
        "--held-out", type=_number(0), default=8, help="number of heads for validation"
    )
    train.add_argument("--minutes", type=_minutes, help="stop after this time")
    train.add_argument(
        "--jobs", type=_number(1), default=2, help="number of processes that build heads"
    )
    train.set_defaults(run=_train)

    export = commands.add_parser(
        "export-piunet", parents=[common], help="write the model of a training"
    )
    export.add_argument("folder", type=Path, help="folder of the run")
    export.add_argument(
        "output",
        type=Path,
        help="file to write (.safetensors), with card and ONNX twin beside it",
    )
    export.add_argument("--commit", default="", help="commit of the code, for the model card")
    export.add_argument("--overwrite", action="store_true", help="replace existing files")
    export.set_defaults(run=_export)


def _number(least: int) -> Callable[[str], int]:
    """Return a function that reads a whole number, not below the least."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} on, got {text}")
        return int(text)

    return number


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number from 0 on, got {text}")
    return minutes


def _export(args) -> None:
    try:
        from mne_piunet.training.export import export
    except ImportError as error:
        raise ImportError(f'{error}. Exporting needs pip install "mne-invkit[train]".') from error

    weights = export(args.folder, args.output, commit=args.commit, overwrite=args.overwrite)
    print(f"Model: {weights.path} {weights.card['figures']}")


def _train(args) -> None:
    try:
        import ot  # noqa: F401

        from mne_piunet.training.train import start, train
    except ImportError as error:
        raise ImportError(f'{error}. Training needs pip install "mne-invkit[train]".') from error
    from mne_invkit.population.draw import Population
    from mne_piunet.training.recipe import RECIPE, Recipe
    from mne_piunet.training.validation import HELD_OUT

    kept = args.folder / RECIPE
    path = args.recipe or (kept if os.path.lexists(kept) else None)
    recipe = Recipe.load(path) if path else Recipe()
    start(recipe, args.folder)  # whatever is wrong there is found before the heads are built
    folder = args.heads or args.folder / "heads"
    heads = Population(folder, range(recipe.n_heads))
    held_out = Population(folder, range(HELD_OUT, HELD_OUT + args.held_out))
    for population in (heads, held_out):
        population.build(n_jobs=args.jobs)
    checkpoint = train(recipe, heads, args.folder, held_out=held_out, minutes=args.minutes)
    print(f"Checkpoint: {checkpoint}")
