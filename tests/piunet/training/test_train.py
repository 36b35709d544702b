"""Runs over a population: they resume exactly, and the command makes a model of them."""

import dataclasses
import json
import tempfile

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


class Never:
    """Heads that must not be built, as something is wrong that can be told before."""

    def __init__(self, folder, seeds):
        pass

    def build(self, n_jobs):
        raise AssertionError("long work")


@pytest.fixture
def command(recipe, tmp_path, monkeypatch, capsys):
    """Train in a folder, and return the exit code and the last line of the error."""
    monkeypatch.setattr("mne_invkit.population.draw.Population", Never)

    def command(folder, *arguments, **changed):
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(recipe.as_dict() | changed))
        code = main(["train-piunet", str(folder), "--recipe", str(path), *arguments])
        return code, capsys.readouterr().err.strip().splitlines()[-1]

    return command


def test_what_cannot_be_written_is_told_before_the_heads_are_built(command, tmp_path):
    file = tmp_path / "file"
    file.write_text("theirs")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "log.csv").write_text("theirs")
    for folder, words in [
        (file, "is a file: pass a folder for the run"),
        (file / "run", "cannot be made"),
        (tmp_path / "theirs", "log.csv exists and belongs to no run"),
    ]:
        code, error = command(folder)
        assert code == 1
        assert words in error
        assert str(folder) in error
    assert file.read_text() == "theirs"


def test_wrong_recipes_and_checkpoints_are_told_before(recipe, command, tmp_path):
    for changed, words in [
        (dict(n_steps="many"), "recipe.json: n_steps must be a whole number"),
        (dict(speed=3), "recipe.json: A recipe has no speed"),
        (dict(start="nowhere.safetensors"), "There is no model 'nowhere.safetensors'"),
        (dict(start="default"), "another network than that of the recipe"),
    ]:
        code, error = command(tmp_path / "run", **changed)
        assert (code, words in error) == (1, True), error
    assert not (tmp_path / "run").exists()
    run = tmp_path / "broken"
    run.mkdir()
    (run / "recipe.json").write_text(json.dumps(recipe.as_dict()))
    for name, words in [("checkpoint.ckpt", "is damaged"), ("log.csv", "is damaged")]:
        (run / name).write_bytes(b"step,seconds,loss\nhalf")
        code, error = command(run)
        assert (code, f"{name} {words}" in error) == (1, True), error
        (run / name).unlink()


@pytest.mark.parametrize("option", ["--held-out=-1", "--minutes=nan", "--minutes=x", "--jobs=0"])
def test_numbers_of_the_command_have_a_meaning(command, option, tmp_path, capsys):
    with pytest.raises(SystemExit) as raised:
        command(tmp_path / "run", option)
    assert raised.value.code == 2
    assert f"argument {option.partition('=')[0]}: must be a" in capsys.readouterr().err


def test_a_checkpoint_belongs_to_one_recipe(recipe, heads, tmp_path):
    """Also where recipe.json was changed by hand."""
    checkpoint = train(recipe, heads, tmp_path, minutes=0, verbose=False)
    before = checkpoint.read_bytes()
    other = dataclasses.replace(recipe, learning_rate=0.5)
    (tmp_path / "recipe.json").write_text(json.dumps(other.as_dict()))
    with pytest.raises(ValueError, match=r"checkpoint.ckpt belongs to a run of another recipe"):
        train(other, heads, tmp_path, verbose=False)
    assert checkpoint.read_bytes() == before


def test_nothing_of_a_run_is_written_outside_its_folder(recipe, heads, tmp_path, monkeypatch):
    """A killed process would leave it there for good."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    train(recipe, heads, tmp_path / "run", minutes=0, verbose=False)


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
