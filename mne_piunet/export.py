"""From a training run to the files that the package ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch.export import Dim

from mne_piunet.network import PatchUNet
from mne_piunet.physics import N_INPUTS
from mne_piunet.training import Recipe
from mne_piunet.weights import ASSETS, Weights, load_piunet, sha256

_SIDES = {2: "x", 3: "y", 4: "z"}


def export(run: Path, name: str = "default", *, folder: Path = ASSETS, about: dict) -> Weights:
    """Write weights in half precision, their ONNX twin and the model card.

    Parameters
    ----------
    run : pathlib.Path
        Folder of the run, see :func:`mne_piunet.training.train`.
    name : str
        Name of the model.
    folder : pathlib.Path
        Where to write.
    about : dict
        What the card should say besides architecture, recipe and checksums: training domain,
        commit, figures.

    Returns
    -------
    weights : Weights
        The model as it will be loaded.
    """
    recipe = Recipe.load(run / "recipe.json")
    state = torch.load(run / "checkpoint.ckpt", weights_only=True)
    card = {"n_inputs": N_INPUTS, "widths": recipe.widths, "n_blocks": recipe.n_blocks,
            "patch": recipe.patch}  # fmt: skip
    network = PatchUNet(**card).eval()
    averaged = {k.removeprefix("module."): v for k, v in state["average"].items() if "." in k}
    network.load_state_dict({k: v.half().float() for k, v in averaged.items()})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, path)
    write_onnx(network, path.with_suffix(".onnx"))
    files = [path, path.with_suffix(".onnx")]
    text = {
        **about, "network": card, "recipe": recipe.as_dict(), "steps": state["step"],
        "hours": round(state["seconds"] / 3600, 2), "sha256": {f.suffix: sha256(f) for f in files},
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return load_piunet(path)


def write_onnx(network: PatchUNet, path: Path) -> None:
    """Write a network for onnxruntime, for any batch and grid, its weights in half precision."""
    side = 2 * network.multiple
    inputs = torch.zeros(2, network.stem.in_channels, side, side, side)
    free = {0: "batch", **{axis: Dim(name) * network.multiple for axis, name in _SIDES.items()}}
    torch.onnx.export(
        network, (inputs,), path, input_names=["inputs"], output_names=["moments"],
        dynamic_shapes=(free,), external_data=False, verbose=False,
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
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)
