"""What defines a training run."""

from __future__ import annotations

import json
import math
import numbers
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mne_invkit._files import write_whole
from mne_piunet.files import check_run, read_json

RECIPE, CHECKPOINT = "recipe.json", "checkpoint.ckpt"
LOG, SCORES, CURVES = "log.csv", "scores.csv", "curves.png"
"""Files of a run."""

_WORDS = {
    int: "a whole number from 0 on",
    float: "a number from 0 on",
    str: "a text",
    tuple: "a list of whole numbers from 1 on",
}


_MOST = 10**7  # of anything that is counted
_DEEPEST, _WIDEST = 16, 4096  # levels of the network, channels of a level


@dataclass(frozen=True)
class Recipe:
    """What defines a training run.

    Attributes
    ----------
    n_heads : int
        Number of heads in the population. Their seeds are 0, 1, ...
    widths, n_residual, block_side
        Arguments of :class:`mne_piunet.net.unet.UNet`.
    n_steps, batch_size : int
        Number of steps, and of examples in each step.
    n_cases : int
        Number of cases (head, montage, noise) in use at a time.
    mixed : int
        Number of these cases that each batch draws its examples from.
    lifetime : int
        Number of steps after which a new case replaces an old one.
    learning_rate, weight_decay : float
        Arguments of AdamW.
    warmup : int
        Number of steps over which the learning rate rises linearly.
    cooldown : float
        Share of all steps, at the end, over which it falls linearly to zero.
    sliced, pyramid, direction, moment : float
        Weights of the terms of :func:`mne_piunet.net.losses.losses`.
    transport : float
        Weight of the exact, normalized earth mover's distance. Unless it is zero, each example
        takes a few ms more.
    ema : float
        Decay of the running average of the network's weights. The average is what is kept.
    seed : int
        Seed of the network's weights and of all examples.
    start : str
        Name or file of the model to start from. Weights are random if it is empty.
    """

    n_heads: int = 64
    widths: tuple[int, ...] = (16, 64)
    n_residual: tuple[int, ...] = (1, 4)
    block_side: int = 2
    n_steps: int = 60_000
    batch_size: int = 16
    n_cases: int = 16
    mixed: int = 4
    lifetime: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 200
    cooldown: float = 0.3
    sliced: float = 1.0
    pyramid: float = 1.0
    direction: float = 0.3
    moment: float = 0.1
    transport: float = 0.0
    ema: float = 0.999
    seed: int = 0
    start: str = ""

    def __post_init__(self):
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if not _is_sound(value, kind):
                raise ValueError(f"{field.name} must be {_WORDS[kind]}, got {value!r}.")
        for name in (
            "n_heads",
            "block_side",
            "batch_size",
            "n_cases",
            "mixed",
            "lifetime",
            "warmup",
        ):
            if not 1 <= getattr(self, name) <= _MOST:
                raise ValueError(
                    f"{name} must be from 1 to {_MOST:,}, got {getattr(self, name):,}."
                )
        if len(self.widths) > _DEEPEST or max(self.widths, default=0) > _WIDEST:
            raise ValueError(
                f"widths must be at most {_DEEPEST} numbers of up to {_WIDEST:,}, got "
                f"{len(self.widths)} of up to {max(self.widths):,}."
            )
        if self.mixed > min(self.n_cases, self.batch_size):
            raise ValueError(
                "mixed must be at most n_cases and batch_size, since a batch has examples of so "
                f"many cases, got {self.mixed}, {self.n_cases} and {self.batch_size}."
            )
        if not any((self.sliced, self.pyramid, self.direction, self.moment, self.transport)):
            raise ValueError("There is nothing to learn: raise the weight of a term above 0.")
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2**63, got {self.seed}.")
        if len(self.widths) != len(self.n_residual):
            raise ValueError(
                f"widths and n_residual must be of the same length, got {self.widths} and "
                f"{self.n_residual}."
            )
        if not 0 < self.cooldown <= 1 or not self.ema < 1:
            raise ValueError(
                f"cooldown must be above 0 and at most 1, and ema below 1, got {self.cooldown} and "
                f"{self.ema}."
            )

    def as_dict(self) -> dict:
        """Return the fields as they are written to a file.

        Returns
        -------
        fields : dict
            Fields by name, with lists in the place of tuples.
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def network(self) -> dict:
        """Arguments of :class:`mne_piunet.net.unet.UNet`."""
        return {name: self.as_dict()[name] for name in ("widths", "n_residual", "block_side")}

    @classmethod
    def from_dict(cls, values: dict) -> Recipe:
        """Make a recipe from what a file holds.

        Parameters
        ----------
        values : dict
            Fields by name. Those that are missing take their defaults.

        Returns
        -------
        recipe : Recipe
            The recipe.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"A recipe has no {', '.join(unknown)}: its fields are {known}.")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe.

        Parameters
        ----------
        path : pathlib.Path
            A JSON file.

        Returns
        -------
        recipe : Recipe
            The recipe.
        """
        values = read_json(path, "a recipe (.json), such as recipe.json of a run")
        try:
            return cls.from_dict(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def keep(self, folder: Path) -> None:
        """Write the recipe to the folder of a run, or check that the run there has the same one.

        Parameters
        ----------
        folder : pathlib.Path
            Folder of the run, which is made if need be. It must hold no files of others with the
            names of those that a run writes.
        """
        check_run(folder, RECIPE, (CHECKPOINT, LOG, SCORES, CURVES))
        path = folder / RECIPE
        if not os.path.lexists(path):
            with write_whole(path) as part:
                part.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        elif Recipe.load(path) != self:
            raise ValueError(
                f"{folder} holds a run of another recipe: pass another folder, or the recipe in "
                f"{path.name} to resume it."
            )


def _is_sound(value: object, kind: type) -> bool:
    """Tell whether a field of a recipe has a value of its kind."""
    if kind is tuple:
        return (
            isinstance(value, tuple)
            and bool(value)
            and all(type(n) is int and n > 0 for n in value)
        )
    if kind is str:
        return isinstance(value, str)
    number = numbers.Integral if kind is int else numbers.Real
    return (
        isinstance(value, number)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )
