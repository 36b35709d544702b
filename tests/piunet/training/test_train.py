"""Runs over a population: they resume exactly, and the command makes a model of them."""

import dataclasses
import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("ot")

from mne_invkit.cli import main
from mne_piunet.training.train import train


def weights(path):
    return torch.load(path, weights_only=True)


def test_resumed_run_equals_an_uninterrupted_one(recipe, heads, tmp_path):
    whole = weights(train(recipe, heads, tmp_path / "whole", verbose=False))
    for step in range(1, recipe.n_steps + 1):  # one step at a time
        path = train(recipe, heads, tmp_path / "parts", minutes=0, verbose=False)
        parts = weights(path)
        assert parts["step"] == step
    assert whole["step"] == recipe.n_steps
    for part in ("network", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name


def test_a_folder_belongs_to_one_recipe(recipe, heads, tmp_path):
    recipe.keep(tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        train(dataclasses.replace(recipe, seed=7), heads, tmp_path, verbose=False)
    assert not (tmp_path / "checkpoint.ckpt").exists()


def test_checkpoints_scores_and_log_on_the_way(recipe, heads, tmp_path, monkeypatch):
    monkeypatch.setattr("mne_piunet.training.train._WINDOW", 2)
    short = dataclasses.replace(recipe, n_steps=2)
    train(short, heads, tmp_path, held_out=heads[:1], every=0, verbose=False)
    for name, steps in (("log", ["2"]), ("scores", ["1", "2", "2"])):
        names, *rows = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert names.startswith("step,seconds,")
        assert [row.split(",")[0] for row in rows] == steps


@pytest.mark.usefixtures("quick_export")
def test_command_trains_resumes_and_exports(recipe, heads, tmp_path, monkeypatch, capsys):
    class Heads(list):
        def __init__(self, folder, seeds):
            super().__init__(heads[: len(seeds)])

        def build(self, n_jobs):
            assert n_jobs == 1

    monkeypatch.setattr("mne_invkit.population.draw.Population", Heads)
    path = tmp_path / "short.json"
    path.write_text(json.dumps(recipe.as_dict()))
    arguments = ["train-piunet", str(tmp_path / "run"), "--held-out", "1", "--jobs", "1"]
    assert main([*arguments, "--recipe", str(path), "--minutes", "0"]) == 0
    assert weights(tmp_path / "run" / "checkpoint.ckpt")["step"] == 1
    assert main(arguments) == 0
    assert weights(tmp_path / "run" / "checkpoint.ckpt")["step"] == recipe.n_steps
    assert "checkpoint.ckpt" in capsys.readouterr().out
    rows = (tmp_path / "run" / "scores.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", str(recipe.n_steps)]
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")

    output = str(tmp_path / "model.safetensors")
    assert main(["export-piunet", str(tmp_path / "run"), output]) == 0
    assert "20 dB" in capsys.readouterr().out
    assert main(["export-piunet", str(tmp_path / "run"), output]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export-piunet", str(tmp_path / "run"), output, "--overwrite"]) == 0

    further = tmp_path / "further.json"
    further.write_text(json.dumps(recipe.as_dict() | {"start": output, "n_steps": 1}))
    assert main(["train-piunet", str(tmp_path / "more"), "--recipe", str(further), "--jobs", "1",
                 "--held-out", "0"]) == 0  # fmt: skip
    first = weights(tmp_path / "run" / "checkpoint.ckpt")["average"]
    second = weights(tmp_path / "more" / "checkpoint.ckpt")["average"]
    for name in set(first) - {"n_averaged"}:
        assert (first[name] - second[name]).abs().max() < 0.01, name
