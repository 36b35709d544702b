"""All that defines a training run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """All that defines a training run.

    Attributes
    ----------
    n_heads : int
        Heads of the population, of the seeds 0, 1, ...
    widths, n_blocks, patch
        As for :class:`mne_piunet.net.unet.PatchUNet`.
    n_steps, batch_size : int
        Steps, and examples of each.
    n_cases : int
        Cases (head, montage, noise) in use at a time; each batch draws from `mixed` of them.
    mixed : int
        Cases of a batch.
    lifetime : int
        Steps after which a case is replaced by a new one.
    learning_rate, weight_decay, warmup, cooldown : float
        Of AdamW; a linear rise over `warmup` steps, and a linear fall to zero over the share
        `cooldown` of all steps at the end.
    lines, pyramid, direction, moment : float
        Weights of the terms of :func:`mne_piunet.net.losses.losses`.
    transport : float
        Weight of the earth mover's distance itself, normalized; exact, so it takes a few ms more
        for each example.
    ema : float
        Decay of the running average of the weights, which is what is kept.
    seed : int
        Seed of the weights and of all examples.
    start : str
        Name or file of the model to start from; random weights if empty.
    """

    n_heads: int = 64
    widths: tuple[int, ...] = (16, 64)
    n_blocks: tuple[int, ...] = (1, 4)
    patch: int = 2
    n_steps: int = 60_000
    batch_size: int = 16
    n_cases: int = 16
    mixed: int = 4
    lifetime: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 200
    cooldown: float = 0.3
    lines: float = 1.0
    pyramid: float = 1.0
    direction: float = 0.3
    moment: float = 0.1
    transport: float = 0.0
    ema: float = 0.999
    seed: int = 0
    start: str = ""

    def as_dict(self) -> dict:
        """Return the fields, for a file."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe from a JSON file."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def _keep_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe, or check that the folder belongs to the same one."""
    text = json.dumps(recipe.as_dict(), indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path.parent} holds a run of another recipe: pass another folder, or the recipe "
            f"in {path.name} to resume it."
        )
    path.write_text(text, encoding="utf-8")
