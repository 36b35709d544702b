"""Commands that this package adds to ``mne-invkit``."""

from __future__ import annotations

import argparse
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
    train.add_argument("--held-out", type=int, default=8, help="number of heads for validation")
    train.add_argument("--minutes", type=float, help="stop after this time")
    train.add_argument("--jobs", type=int, default=2, help="number of processes that build heads")
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


def _export(args) -> None:
    try:
        from mne_piunet.training.export import export
    except ImportError as error:
        raise ImportError(f'{error}. Exporting needs pip install "mne-invkit[train]".') from error

    weights = export(args.folder, args.output, commit=args.commit, overwrite=args.overwrite)
    print(f"Model: {weights.path} {weights.card['figures']}")


def _train(args) -> None:
    try:
        from mne_piunet.training.recipe import Recipe
        from mne_piunet.training.train import train
    except ImportError as error:
        raise ImportError(f'{error}. Training needs pip install "mne-invkit[train]".') from error
    from mne_invkit.population.draw import Population
    from mne_piunet.training.validation import HELD_OUT

    kept = args.folder / "recipe.json"
    path = args.recipe or (kept if kept.exists() else None)
    recipe = Recipe.load(path) if path else Recipe()
    folder = args.heads or args.folder / "heads"
    heads = Population(folder, range(recipe.n_heads))
    held_out = Population(folder, range(HELD_OUT, HELD_OUT + args.held_out))
    for population in (heads, held_out):
        population.build(n_jobs=args.jobs)
    checkpoint = train(recipe, heads, args.folder, held_out=held_out, minutes=args.minutes)
    print(f"Checkpoint: {checkpoint}")
