"""The command that distills an image classifier."""

import argparse
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("yaml")

import subdistill.vision.run
from subdistill.vision.cli import add_commands


def command(*arguments):
    """What ``mne-invkit`` does with the command of this package."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    args = parser.parse_args(["distill-vision", *map(str, arguments)])
    args.run(args)


def test_command_is_registered():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    commands = tomllib.loads(text)["project"]["entry-points"]["mne_invkit.commands"]
    assert commands["subdistill"] == "subdistill.vision.cli:add_commands"


def test_command_reads_the_configuration_and_prints_what_was_found(tmp_path, capsys, monkeypatch):
    path, called = tmp_path / "config.yaml", []
    path.write_text("teacher: a\nstudent: b\ndata: c\n")

    def run(config, folder):
        called.append((config, folder))
        return {"accuracy of the student": 0.5, "best epoch": 3}

    monkeypatch.setattr(subdistill.vision.run, "run", run)
    command(tmp_path / "run", "--config", path, "--set", "recipe.weight=2", "--set", "size=8")
    ((config, folder),) = called
    assert folder == tmp_path / "run"
    assert (config.teacher, config.size, config.recipe) == ("a", 8, {"weight": 2})
    assert capsys.readouterr().out == "accuracy of the student: 0.5\nbest epoch: 3\n"
    with pytest.raises(ValueError, match="teacher is missing"):
        command(tmp_path)
