"""Exported models load, whole or not at all, and never over others unasked."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("lightning_fabric")
pytest.importorskip("ot")

from mne_piunet import load_piunet
from mne_piunet.inference import BACKENDS, Network, torch_network
from mne_piunet.kernel.grid import make_blocks
from mne_piunet.kernel.inputs import MASK
from mne_piunet.net.unet import run_network
from mne_piunet.training.cases import draw_case
from mne_piunet.training.export import export, write_model
from mne_piunet.training.train import train


def test_both_backends_and_the_dense_network_agree(model, heads):
    pytest.importorskip("onnxruntime")
    grid, _ = draw_case(heads[0], np.random.default_rng(0), multiple=4).draw(
        3, np.random.default_rng(0)
    )
    blocks = make_blocks(grid[0, MASK] > 0, 2)
    inputs = grid.reshape(*grid.shape[:2], -1)[:, :, blocks.voxels.ravel()]
    one, other = (Network(model, name)(inputs, blocks.places) for name in BACKENDS)
    dense = run_network(torch_network(model), grid)
    np.testing.assert_allclose(blocks.on_grid(one), dense, atol=1e-6)
    assert np.abs(one).max() > 0
    np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())


def test_no_paths_of_this_machine(model):
    assert b"unet.py" not in model.onnx.read_bytes()


@pytest.mark.usefixtures("quick_export")
def test_export_holds_the_average_of_a_run(recipe, heads, tmp_path):
    checkpoint = train(recipe, heads, tmp_path / "run", verbose=False)
    path = tmp_path / "models" / "small.safetensors"  # in a folder that is made
    model = export(tmp_path / "run", path, commit="abc")
    assert (model.name, model.card["commit"], model.card["steps"]) == ("small", "abc", 4)
    assert model.card["figures"] == {}  # no heads to validate on
    assert model.card["recipe"] == recipe.as_dict()
    assert (model.multiple, model.block_side) == (4, 2)
    average = torch.load(checkpoint, weights_only=True)["average"]
    for name, value in model.tensors().items():
        np.testing.assert_array_equal(value, average[f"module.{name}"].half().float().numpy())


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("suffix", [".safetensors", ".json", ".onnx"])
def test_files_of_others_stay(suffix, model, tmp_path):
    theirs = (tmp_path / "new.any").with_suffix(suffix)
    theirs.write_text("theirs")
    network, card = torch_network(model), model.card
    with pytest.raises(FileExistsError, match=rf"new\{suffix} exists: pass overwrite=True"):
        write_model(network, tmp_path / "new.safetensors", {}, card["network"])
    assert theirs.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [theirs]
    path = tmp_path / "new.safetensors"
    new = write_model(network, path, {}, card["network"], overwrite=True)
    assert load_piunet(path).card == new.card


def test_a_model_is_written_whole_or_not_at_all(model, tmp_path, monkeypatch):
    def write_onnx(network, path):
        raise OSError("disk is full")

    monkeypatch.setattr("mne_piunet.training.export.write_onnx", write_onnx)
    with pytest.raises(OSError, match="disk is full"):
        write_model(torch_network(model), tmp_path / "new.safetensors", {}, model.card["network"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"end in \.safetensors"):
        write_model(torch_network(model), tmp_path / "new.pt", {}, model.card["network"])


def test_network_that_is_not_finite_is_not_written(model, tmp_path):
    network = torch_network(model)
    network.weigh.bias.data[:] = 1e6  # infinite in half precision
    with pytest.raises(ValueError, match=r"'weigh.bias' are not finite.* is not written: train"):
        write_model(network, tmp_path / "new.safetensors", {}, model.card["network"])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick_export")
def test_files_of_the_run_stay_and_damaged_ones_are_named(recipe, heads, tmp_path):
    run = tmp_path / "run"
    checkpoint = train(recipe, heads, run, minutes=0, verbose=False)
    before = (run / "recipe.json").read_bytes()
    with pytest.raises(ValueError, match=r"recipe.json is the recipe of the run: choose another"):
        export(run, run / "recipe.safetensors", overwrite=True)
    assert (run / "recipe.json").read_bytes() == before
    path = tmp_path / "new.safetensors"
    for file, contents, words in [
        (run / "scores.csv", b"step\nx", "scores.csv is damaged"),
        (run / "recipe.json", b"{", "recipe.json is damaged"),
        (
            run / "recipe.json",
            b'{"widths": [4, 4], "n_residual": [1, 1]}',
            "checkpoint.ckpt does not",
        ),
        (checkpoint, b"half", "checkpoint.ckpt is damaged"),
    ]:
        whole = file.read_bytes()
        file.write_bytes(contents)
        with pytest.raises(ValueError, match=words):
            export(run, path)
        file.write_bytes(whole)
    assert not path.exists()
    assert export(run, path).card["steps"] == 1


def test_cards_are_json(model):
    card = json.loads(model.path.with_suffix(".json").read_text())
    assert card == model.card
    assert card["network"] == {"widths": [8, 16], "n_residual": [1, 1], "block_side": 2}
