"""Files of a model: found, and checked against their card."""

import json
import os
import shutil

import numpy as np
import pytest
from odd_files import make_pipe

from mne_piunet import load_piunet
from mne_piunet.inference import Network
from mne_piunet.weights import FILES, OWN, card_checksum, sha256


@pytest.fixture
def copied(model, tmp_path):
    """Copy of a model's files."""
    for suffix in FILES:
        shutil.copy(model.path.with_suffix(suffix), tmp_path)
    return tmp_path / model.path.name


def test_a_file_is_loaded_with_its_card(copied, model):
    weights = load_piunet(copied)
    assert (weights.name, weights.card) == ("random", model.card)
    assert load_piunet(weights) is weights
    assert weights.tensors().keys() == model.tensors().keys()
    copied.with_suffix(".onnx").unlink()  # not needed with torch
    load_piunet(str(copied))


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_damaged_files_are_named(copied, suffix):
    path = copied.with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"random\{suffix} is damaged"):
        load_piunet(copied)


def test_what_is_missing_is_named(copied):
    card = json.loads(copied.with_suffix(".json").read_text())
    assert set(card["sha256"]) == {".safetensors", ".onnx"}
    copied.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match="model card"):
        load_piunet(copied)
    with pytest.raises(ValueError, match="no model 'magic'"):
        load_piunet("magic")


def resealed(path, **changed):
    """Change a card, or files that it describes, and write the checksums that then are right."""
    card = json.loads(path.with_suffix(".json").read_text()) | changed
    card["sha256"] = {s: sha256(path.with_suffix(s)) for s in (".safetensors", ".onnx")}
    card[OWN] = card_checksum(card)
    path.with_suffix(".json").write_text(json.dumps(card))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(copied, value):
    """They would make every estimate NaN."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(copied)
    weights["weigh.bias"] = np.full_like(weights["weigh.bias"], value)
    save_file(weights, copied)
    resealed(copied)
    with pytest.raises(ValueError, match=r"'weigh.bias' in .*random.safetensors are infinite or"):
        load_piunet(copied)


def test_twin_that_is_not_finite_is_named(copied):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = onnx.load(copied.with_suffix(".onnx"))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float16:
            bad = np.full_like(values, np.nan)
            tensor.CopyFrom(onnx.numpy_helper.from_array(bad, tensor.name))
    onnx.save(model, copied.with_suffix(".onnx"))
    resealed(copied)
    with pytest.raises(ValueError, match=r"random.onnx gives values that are infinite or not a"):
        Network(load_piunet(copied), "onnxruntime")


def test_twin_that_cannot_be_read_is_named(copied):
    pytest.importorskip("onnxruntime")
    path = copied.with_suffix(".onnx")
    path.write_bytes(b"no network")
    resealed(copied)
    with pytest.raises(ValueError, match=r"random.onnx cannot be read by onnxruntime"):
        Network(load_piunet(copied), "onnxruntime")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"random.onnx: pass a model with its ONNX twin"):
        Network(load_piunet(copied), "onnxruntime")


def test_weights_of_another_network_are_named(copied):
    pytest.importorskip("torch")
    resealed(copied, network=dict(widths=[8, 32], n_residual=[1, 1], block_side=2))
    with pytest.raises(ValueError, match=r"random.safetensors do not fit the network of their"):
        Network(load_piunet(copied), "torch")


@pytest.mark.parametrize("old", ["none", "widths", "8", "domain", "sha256 of the card", ".onnx"])
def test_every_letter_of_a_card_counts(copied, old):
    card = copied.with_suffix(".json")
    card.write_text(card.read_text().replace(old, "7" + old[1:], 1))
    with pytest.raises(ValueError, match=r"random.json (is damaged|lacks|describes no network)"):
        load_piunet(copied)


@pytest.mark.parametrize(
    "network",
    [
        None, [], {}, dict(widths=8, n_residual=[1], block_side=2),
        dict(widths=[8, 10**9], n_residual=[1, 1], block_side=2),
        dict(widths=[8], n_residual=[1, 1], block_side=2),
        dict(widths=["8"], n_residual=[1], block_side=2),
        dict(widths=[8], n_residual=[True], block_side=2),
        dict(widths=[8], n_residual=[1], block_side=2, path="x"),
    ],
)  # fmt: skip
def test_card_of_no_network_is_named(copied, network):
    resealed(copied, network=network)
    with pytest.raises(ValueError, match=r"random.json (is no model card|describes no network)"):
        load_piunet(copied)


@pytest.mark.parametrize("suffix", FILES)
def test_what_is_no_file_or_endless_is_named_at_once(copied, suffix):
    path = copied.with_suffix(suffix)
    whole = path.read_bytes()
    path.unlink()
    make_pipe(path)
    with pytest.raises(ValueError, match=rf"random{suffix} is (no ordinary file|damaged)"):
        load_piunet(copied)
    path.unlink()
    path.write_bytes(whole)
    os.truncate(path, 10**13)  # takes no room
    with pytest.raises(ValueError, match=rf"random{suffix} (is damaged|has more than)"):
        load_piunet(copied)
