"""Weights of the network with their card: what they were trained on, and a checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).parent / "assets"
"""Models that come with the package: ``<name>.safetensors``, ``<name>.json``, ``<name>.onnx``."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained network.

    Attributes
    ----------
    name : str
        Name of the model.
    card : dict
        Model card: architecture, training domain, recipe, figures, checksums.
    path : pathlib.Path
        File of the weights; the ONNX twin lies beside it.
    """

    name: str
    card: dict
    path: Path

    @property
    def onnx(self) -> Path:
        """File of the ONNX twin."""
        return self.path.with_suffix(".onnx")

    @property
    def multiple(self) -> int:
        """What the sides of the grid must be multiples of."""
        network = self.card["network"]
        return network["patch"] * 2 ** (len(network["widths"]) - 1)

    def tensors(self) -> dict[str, np.ndarray]:
        """Read the parameters, by name, in single precision."""
        from safetensors.numpy import load_file

        return {name: value.astype(np.float32) for name, value in load_file(self.path).items()}


def list_models() -> list[str]:
    """Names of the models that come with the package.

    Returns
    -------
    names : list of str
        What `load_piunet` takes.

    Examples
    --------
    >>> from mne_piunet import list_models
    >>> list_models()  # doctest: +SKIP
    ['default']
    """
    return sorted(path.stem for path in ASSETS.glob("*.safetensors"))


def load_piunet(model: str | Path | Weights = "default") -> Weights:
    """Find a model and check it against its card.

    Parameters
    ----------
    model : str | pathlib.Path | Weights
        Name of a model that comes with the package, or a ``.safetensors`` file of your own with
        its card (``.json``) beside it. Nothing is unpickled.

    Returns
    -------
    weights : Weights
        The model.

    Examples
    --------
    >>> from mne_piunet import load_piunet
    >>> load_piunet("my.safetensors").card["network"]  # doctest: +SKIP
    {'widths': [32, 96], 'n_blocks': [1, 4], 'patch': 2}
    """
    if isinstance(model, Weights):
        return model
    path = Path(model)
    if path.suffix != ".safetensors":
        path = ASSETS / f"{model}.safetensors"
    if not path.is_file():
        raise ValueError(
            f"There is no model {str(model)!r}: pass one of {list_models()} or the path of a "
            ".safetensors file."
        )
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise FileNotFoundError(f"The model card {card_path} is missing: copy it beside {path}.")
    card = json.loads(card_path.read_text(encoding="utf-8"))
    for suffix, checksum in card["sha256"].items():
        file = path.with_suffix(suffix)
        if file.is_file() and sha256(file) != checksum:
            raise ValueError(
                f"{file} is damaged, or not the file its card describes: install mne-invkit again, "
                "or copy file and card together."
            )
    return Weights(path.stem, card, path)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
