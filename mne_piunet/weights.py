"""Files of a model: weights, a card that says what they were trained on, and an ONNX twin."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mne_piunet.files import read_json

ASSETS = Path(__file__).parent / "assets"
"""Folder of the models that come with the package."""
FILES = (".safetensors", ".onnx", ".json")
"""Suffixes of a model's files: weights, the network for onnxruntime, and the model card."""
CARD = FILES[-1]
OWN = "sha256 of the card"
"""Entry of a card with the checksum of all others."""

_LARGEST = 1024  # of the numbers that make a network
_MOST = 2**31  # bytes; ONNX allows no larger files
_MEND = "install mne-invkit again, or copy all files of the model together, or export it again"


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
        from safetensors import safe_open

        try:
            with safe_open(self.path, "np") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            raise ValueError(
                f"{self.path} is damaged, or no file of weights ({error}): {_MEND}."
            ) from error
        for name, value in found.items():
            if not np.isfinite(value).all():
                raise ValueError(
                    f"The weights {name!r} in {self.path} are infinite or not a number (NaN) and "
                    f"would make every estimate NaN: {_MEND}."
                )
        return {name: value.astype(np.float32) for name, value in found.items()}


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
    if os.path.lexists(path) and not path.is_file():
        raise ValueError(f"{path} is no ordinary file: pass a .safetensors file.")
    if not path.is_file():
        raise ValueError(
            f"There is no model {str(model)!r}: pass one of {list_models()} or the path of a "
            ".safetensors file."
        )
    weights = Weights(path.stem, _read_card(path.with_suffix(CARD)), path)
    if find_spec("safetensors"):
        weights.tensors()  # raises where they are not finite
    _raise_unless(weights.card.get(OWN) == card_checksum(weights.card), path.with_suffix(CARD))
    for suffix, checksum in weights.card["sha256"].items():
        file = path.with_suffix(suffix)
        if os.path.lexists(file):
            sound = file.is_file() and file.stat().st_size < _MOST and sha256(file) == checksum
            _raise_unless(sound, file)
    return weights


def _raise_unless(sound: bool, file: Path) -> None:
    if not sound:
        raise ValueError(f"{file} is damaged, or not what its card describes: {_MEND}.")


def _read_card(path: Path) -> dict:
    """Read a model card, and check what the network is made of."""
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"The model card {path} is missing: copy it beside {path.stem}.safetensors."
        )
    card = read_json(path, "a model with its card")
    network, checksums = card.get("network"), card.get("sha256")
    if not (isinstance(network, dict) and isinstance(checksums, dict)):
        raise ValueError(f"{path} is no model card, as network or sha256 is missing: {_MEND}.")
    if set(checksums) != set(FILES[:-1]):
        raise ValueError(f"{path} lacks a checksum of {' or '.join(FILES[:-1])}: {_MEND}.")
    sizes = [network.get("block_side"), *_list(network, "widths"), *_list(network, "n_residual")]
    sound = all(type(n) is int and 0 < n <= _LARGEST for n in sizes) and len(network) == 3
    if not (sound and len(network["widths"]) == len(network["n_residual"])):
        raise ValueError(f"{path} describes no network ({network}): {_MEND}.")
    return card


def _list(network: dict, name: str) -> list:
    return network[name] if isinstance(network.get(name), list) and network[name] else [None]


def card_checksum(card: dict) -> str:
    """Compute the checksum of a card without its own.

    Parameters
    ----------
    card : dict
        The card.

    Returns
    -------
    checksum : str
        Hexadecimal digits.
    """
    text = json.dumps({k: v for k, v in card.items() if k != OWN}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
