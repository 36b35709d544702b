"""From a training run to the files that the package ships."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch.export import Dim

from mne_piunet.kernel.inputs import N_INPUTS
from mne_piunet.net.unet import PatchUNet
from mne_piunet.training.recipe import Recipe
from mne_piunet.training.validation import LINES
from mne_piunet.weights import ASSETS, Weights, load_piunet, sha256

DOMAIN = (
    "Random heads of children and adults from the shells of the fsaverage template; 24 to 256 "
    "electrodes, 60 to 306 magnetometers and planar gradiometers, or both; cortical or 7 mm volume "
    "sources, fixed or free; 1 to 20 patches of 0 to 40 mm; -5 to 30 dB; data from another head, "
    "conductivity and sensor positions than the inverse believes."
)
"""What the training covers."""


def export(run: Path, name: str = "default", *, folder: Path = ASSETS, commit: str = "") -> Weights:
    """Write weights in half precision, their ONNX twin and the model card.

    Parameters
    ----------
    run : pathlib.Path
        Folder of the run, see :func:`mne_piunet.training.loop.train`.
    name : str
        Name of the model.
    folder : pathlib.Path
        Where to write.
    commit : str
        Commit of the code that trained it.

    Returns
    -------
    weights : Weights
        The model as it will be loaded.
    """
    recipe = Recipe.load(run / "recipe.json")
    state = torch.load(run / "checkpoint.ckpt", weights_only=True)
    shape = {"widths": recipe.widths, "n_blocks": recipe.n_blocks, "patch": recipe.patch}
    network = PatchUNet(**shape)
    prefix = "module."  # of the averaged weights
    averaged = {k.removeprefix(prefix): v for k, v in state["average"].items() if prefix in k}
    network.load_state_dict(averaged)
    card = {
        "domain": DOMAIN,
        "commit": commit,
        "recipe": recipe.as_dict() | {"start": Path(recipe.start).stem},
        "steps": state["step"],
        "hours": round(state["seconds"] / 3600, 2),
        "figures": _figures(run / "scores.csv"),
    }
    return write_model(network, folder / f"{name}.safetensors", card, shape)


def _figures(path: Path) -> dict[str, float]:
    """Normalized earth mover's distances on unseen heads, at the end of a run."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: float(v) for k, v in rows[-1].items() if k in LINES} if rows else {}


def write_model(network: PatchUNet, path: Path, about: dict, shape: dict) -> Weights:
    """Write a network, its ONNX twin and its card.

    Parameters
    ----------
    network : PatchUNet
        The network; its weights are rounded to half precision.
    path : pathlib.Path
        File to write, ``.safetensors``; twin and card lie beside it.
    about : dict
        What the card should say.
    shape : dict
        Arguments that make such a network.

    Returns
    -------
    weights : Weights
        The model as it will be loaded.
    """
    network = network.half().float().eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, path)
    write_onnx(network, path.with_suffix(".onnx"))
    files = [path, path.with_suffix(".onnx")]
    card = {**about, "network": shape, "sha256": {f.suffix: sha256(f) for f in files}}
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return load_piunet(path)


def write_onnx(network: PatchUNet, path: Path) -> None:
    """Write a network for onnxruntime, for any batch and grid, its weights in half precision."""
    step = network.multiple // network.patch
    places = torch.arange((2 * step) ** 3).reshape(2 * step, 2 * step, -1).clamp(max=7)
    inputs = torch.zeros(2, N_INPUTS, 7 * network.patch**3)
    of_inputs = {0: "batch", 2: Dim("n_blocks") * network.patch**3}
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
        del part.metadata_props[:]  # which name the files of the machine
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)
