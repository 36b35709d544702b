"""Files of models and runs are named when they are damaged, and run nothing."""

import json
import os
from pathlib import Path

import pytest
from odd_files import make_pipe

from mne_piunet.files import check_run, read_checkpoint, read_json


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is damaged, or no JSON"),
        ("", "is damaged, or no JSON"),
        ("[" * 100_000, "is damaged, or no JSON"),
        ('{"a": 1, "a": 2}', "an entry stands there twice"),
        ("[1]", "holds no entries"),
    ],
)
def test_json_that_cannot_be_read_is_named(text, match, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json .*{match}.*pass a recipe"):
        read_json(path, "a recipe")


def test_json_without_end_is_refused_at_once(tmp_path):
    make_pipe(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no ordinary file: pass a recipe"):
        read_json(tmp_path / "pipe", "a recipe")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(ValueError, match="long has more than 1,000,000 bytes: pass a recipe"):
        read_json(tmp_path / "long", "a recipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("loop", "nothing"):
        with pytest.raises((ValueError, FileNotFoundError), match=f"{name}.*pass a recipe"):
            read_json(tmp_path / name, "a recipe")
    with pytest.raises(ValueError, match="is no ordinary file: pass a recipe"):
        read_json(tmp_path, "a recipe")


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(zipped, tmp_path):
    torch = pytest.importorskip("torch")
    path, sprung = tmp_path / "checkpoint.ckpt", tmp_path / "sprung"
    torch.save({"step": Trap(sprung)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"checkpoint.ckpt is damaged.* nothing in it was run"):
        read_checkpoint(path)
    assert not sprung.exists()


def test_every_bit_of_a_checkpoint_counts(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(64), "step": 3}, path)
    assert read_checkpoint(path)["step"] == 3
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(torch.ones(64).numpy().tobytes())] ^= 1
    for contents in (damaged, whole[:-20], b""):
        path.write_bytes(contents)
        with pytest.raises(
            ValueError, match=r"a\.ckpt is damaged.* delete the file to begin again"
        ):
            read_checkpoint(path)


def test_folder_of_a_run(tmp_path, monkeypatch):
    folder = tmp_path / "some" / "run"
    check_run(folder, "recipe.json", ["log.csv"])
    (folder / "log.csv").write_text("theirs")
    with pytest.raises(FileExistsError, match=r"log.csv exists and belongs to no run"):
        check_run(folder, "recipe.json", ["log.csv"])
    (folder / "recipe.json").write_text(json.dumps({}))
    check_run(folder, "recipe.json", ["log.csv"])
    with pytest.raises(NotADirectoryError, match=r"log.csv is a file: pass a folder for the run"):
        check_run(folder / "log.csv", "recipe.json", [])
    with pytest.raises(OSError, match=r"deeper cannot be made .*pass another"):
        check_run(folder / "log.csv" / "deeper", "recipe.json", [])
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    with pytest.raises(PermissionError, match=r"run cannot be written: pass another"):
        check_run(folder, "recipe.json", [])
