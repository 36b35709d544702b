"""Files of a model: weights, a card that says what they were trained on, and an ONNX twin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).parent / "assets"
"""Folder of the models that come with the package."""
FILES = (".safetensors", ".onnx", ".json")
"""Suffixes of a model's files: weights, the network for onnxruntime, and the model card."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained network.

    Attributes
    ----------
    name : str
        Name of the model: that of its files without the suffix, such as "default" for the one
        that is shipped.
    card : dict
        Model card: arguments of the network, domain and recipe of the training, scores, checksums.
    path : pathlib.Path
        File of the weights. Card and ONNX twin lie beside it.
    """

    name: str
    card: dict
    path: Path

    @property
    def onnx(self) -> Path:
        """File of the network for onnxruntime."""
        return self.path.with_suffix(".onnx")

    @property
    def multiple(self) -> int:
        """Number of voxels that each side of the grid is a multiple of."""
        return self.block_side * 2 ** (len(self.card["network"]["widths"]) - 1)

    @property
    def block_side(self) -> int:
        """Number of voxels along each side of the network's blocks."""
        return self.card["network"]["block_side"]

    def tensors(self) -> dict[str, np.ndarray]:
        """Read the weights.

        Returns
        -------
        tensors : dict of ndarray
            Weights by name, in single precision.
        """
        from safetensors.numpy import load_file

        return {name: value.astype(np.float32) for name, value in load_file(self.path).items()}


def list_models() -> list[str]:
    """List the models that come with the package.

    Returns
    -------
    names : list of str
        Names that :func:`load_piunet` takes.

    Examples
    --------
    >>> from mne_piunet import list_models
    >>> list_models()  # doctest: +SKIP
    ['default']
    """
    return sorted(path.stem for path in ASSETS.glob("*.safetensors"))


def load_piunet(model: str | Path | Weights = "default") -> Weights:
    """Load a model and check it against its card.

    Parameters
    ----------
    model : str | pathlib.Path | Weights
        Name of a model that comes with the package, or your own ``.safetensors`` file with its
        card (``.json``) beside it. Loading executes nothing that the files hold.

    Returns
    -------
    weights : Weights
        The model.

    Examples
    --------
    >>> from mne_piunet import load_piunet
    >>> load_piunet("my.safetensors").card["network"]  # doctest: +SKIP
    {'widths': [16, 64], 'n_residual': [1, 4], 'block_side': 2}
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
                f"{file} is damaged, or not the file that its card describes: install mne-invkit "
                "again, or copy file and card together."
            )
    return Weights(path.stem, card, path)


def sha256(path: Path) -> str:
    """Compute the SHA-256 checksum of a file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    checksum : str
        Hexadecimal digits.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()
