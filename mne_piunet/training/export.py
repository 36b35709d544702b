"""From a training run to the files of a model: weights, ONNX twin and model card."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save
from torch.export import Dim

from mne_invkit._files import check_new, write_whole
from mne_piunet._docs import fill_doc
from mne_piunet.files import check_writable, read_checkpoint
from mne_piunet.kernel.inputs import N_INPUTS
from mne_piunet.net.unet import UNet
from mne_piunet.training.log import read_table
from mne_piunet.training.recipe import CHECKPOINT, RECIPE, SCORES, Recipe
from mne_piunet.training.validation import CONDITIONS
from mne_piunet.weights import CARD, FILES, OWN, Weights, card_checksum, load_piunet, sha256

DOMAIN = (
    "Random heads of children and adults from the shells of the fsaverage template; 24 to 256 "
    "electrodes, 60 to 306 magnetometers and planar gradiometers, or both; cortical or 7 mm volume "
    "sources, fixed or free; 1 to 20 patches of 0 to 40 mm; -5 to 30 dB; data from another head, "
    "conductivity and sensor positions than the inverse believes."
)
"""What the training covers."""


@fill_doc
def export(run: Path, path: Path, *, commit: str = "", overwrite: bool = False) -> Weights:
    """Write the model that a training gave.

    Parameters
    ----------
    run : pathlib.Path
        Folder of the run, see :func:`mne_piunet.training.train.train`.
    %(model_path)s
    commit : str
        Commit of the code that trained the model, for the card.
    %(overwrite)s

    Returns
    -------
    weights : Weights
        The model as it will be loaded.
    """
    check_model_path(path, overwrite=overwrite)
    kept = run / RECIPE
    if path.with_suffix(".json").resolve() == kept.resolve():
        raise ValueError(f"{kept} is the recipe of the run: choose another name for the model.")
    recipe = Recipe.load(kept)
    checkpoint = run / CHECKPOINT
    state = read_checkpoint(checkpoint)
    network = UNet(**recipe.network)
    prefix = "module."  # of the averaged weights
    try:
        averaged = {k.removeprefix(prefix): v for k, v in state["average"].items() if prefix in k}
        network.load_state_dict(averaged)
        steps, hours = int(state["step"]), round(state["seconds"] / 3600, 2)
    except (KeyError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{checkpoint} does not belong to {kept}: restore both from the same run."
        ) from error
    card = {
        "domain": DOMAIN,
        "commit": commit,
        "recipe": recipe.as_dict() | {"start": Path(recipe.start).stem},
        "steps": steps,
        "hours": hours,
        "figures": _figures(run / SCORES),
    }
    return write_model(network, path, card, recipe.network, overwrite=overwrite)


def _figures(path: Path) -> dict[str, float]:
    """Read the scores on unseen heads at the end of a run."""
    names, *rows = read_table(path)
    last = dict(zip(names, rows[-1], strict=True)) if rows else {}
    return {name: float(last[name]) for name in CONDITIONS if name in last}


@fill_doc
def check_model_path(path: Path, *, overwrite: bool = False) -> None:
    """Make the folder of a model, and raise unless it can be written there.

    Parameters
    ----------
    path : pathlib.Path
        File of the weights.
    %(overwrite)s
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"The path of a model must end in .safetensors, got {path}.")
    check_writable(path.parent)
    for suffix in FILES:
        check_new(path.with_suffix(suffix), overwrite, how="overwrite=True (--overwrite)")


@fill_doc
def write_model(
    network: UNet, path: Path, about: dict, arguments: dict, *, overwrite: bool = False
) -> Weights:
    """Write a network, its ONNX twin and its card.

    Parameters
    ----------
    network : UNet
        The network. Its weights are rounded to half precision.
    %(model_path)s
    about : dict
        What the card says about the training.
    arguments : dict
        Arguments that make such a network.
    %(overwrite)s

    Returns
    -------
    weights : Weights
        The model, read back from its files.
    """
    check_model_path(path, overwrite=overwrite)
    network = network.half().float().eval()
    for name, value in network.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(
                f"The weights {name!r} are not finite in half precision, so {path} is not written: "
                "train again with a lower learning rate."
            )
    with ExitStack() as stack:
        kept = reversed(FILES)  # what is entered last is put into place first: the card comes last
        parts = {s: stack.enter_context(write_whole(path.with_suffix(s))) for s in kept}
        tensors = {k: v.half().contiguous() for k, v in network.state_dict().items()}
        parts[".safetensors"].write_bytes(save(tensors))
        write_onnx(network, parts[".onnx"])
        checksums = {suffix: sha256(parts[suffix]) for suffix in (".safetensors", ".onnx")}
        card = {**about, "network": arguments, "sha256": checksums}
        card[OWN] = card_checksum(card)
        parts[CARD].write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return load_piunet(path)


def write_onnx(network: UNet, path: Path) -> None:
    """Write a network for onnxruntime, for any batch and grid, with weights in half precision.

    Parameters
    ----------
    network : UNet
        The network.
    path : pathlib.Path
        File to write.
    """
    step = network.multiple // network.block_side
    places = torch.arange((2 * step) ** 3).reshape(2 * step, 2 * step, -1).clamp(max=7)
    inputs = torch.zeros(2, N_INPUTS, 7 * network.block_side**3)
    of_inputs = {0: "batch", 2: Dim("n_blocks") * network.block_side**3}
    of_places = {axis: Dim(name) * step for axis, name in enumerate("xyz")}
    torch.onnx.export(
        network, (inputs, places), path, input_names=["inputs", "places"],
        output_names=["moments"], dynamic_shapes=(of_inputs, of_places), external_data=False,
        verbose=False,
    )  # fmt: skip
    model = onnx.load(path)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 100:
            continue
        single = tensor.name
        half = f"{single}.half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [single], to=onnx.TensorProto.FLOAT))
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]  # they hold paths of this machine
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)
