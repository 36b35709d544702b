"""Files of a model: found, and checked against their card."""

import json
import shutil

import pytest

from mne_piunet import load_piunet
from mne_piunet.weights import FILES


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
