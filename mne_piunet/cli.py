"""Commands of ``mne-invkit`` that this package adds."""

from __future__ import annotations

from pathlib import Path


def add_commands(commands, common) -> None:
    """Add the commands of this package; `common` has the options that all share."""
    train = commands.add_parser(
        "train-piunet", parents=[common], help="train the network, or resume a training"
    )
    train.add_argument("folder", type=Path, help="folder of the run: recipe, log, checkpoint")
    train.add_argument("--recipe", type=Path, help="recipe (.json; default: that of the package)")
    train.add_argument("--heads", type=Path, help="folder of the heads (default: FOLDER/heads)")
    train.add_argument("--held-out", type=int, default=8, help="heads for validation")
    train.add_argument("--minutes", type=float, help="stop after this time, to be resumed")
    train.add_argument("--jobs", type=int, default=2, help="processes that build heads")
    train.set_defaults(run=_train)

    export = commands.add_parser(
        "export-piunet", parents=[common], help="write the model that a training gave"
    )
    export.add_argument("folder", type=Path, help="folder of the run")
    export.add_argument("output", type=Path, help="file to write (.safetensors)")
    export.add_argument("--commit", default="", help="commit of the code, for the model card")
    export.add_argument("--overwrite", action="store_true", help="replace an existing file")
    export.set_defaults(run=_export)


def _export(args) -> None:
    from mne_piunet.training.export import export

    if args.output.suffix != ".safetensors":
        raise ValueError(f"The output must end in .safetensors, got {args.output}.")
    if args.output.exists() and not args.overwrite:
        raise FileExistsError(f"{args.output} exists: pass --overwrite, or another name.")
    folder, name = args.output.parent, args.output.stem
    weights = export(args.folder, name, folder=folder, commit=args.commit)
    print(f"Model: {weights.path} {weights.card['figures']}")


def _train(args) -> None:
    try:
        from mne_piunet.training.loop import train
        from mne_piunet.training.recipe import Recipe
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
