"""Recipes: what a file holds, what a folder keeps."""

import dataclasses
import json
from pathlib import Path

import pytest

from mne_piunet import load_piunet
from mne_piunet.training.recipe import Recipe

RUNS = Path(__file__).parents[3] / "benchmarks" / "training"


def test_a_folder_belongs_to_one_recipe(recipe, tmp_path):
    folder = tmp_path / "run"
    recipe.keep(folder)
    recipe.keep(folder)
    with pytest.raises(ValueError, match="another recipe"):
        dataclasses.replace(recipe, n_steps=1).keep(folder)
    assert Recipe.load(folder / "recipe.json") == recipe


def test_unknown_fields_are_named():
    with pytest.raises(ValueError, match=r"no n_blocks, patch: its fields are .*n_residual"):
        Recipe.from_dict({"patch": 2, "n_blocks": [1, 4]})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n_steps", "many", "n_steps must be a whole number from 0 on, got 'many'"),
        ("n_steps", True, "n_steps must be a whole number"),
        ("n_steps", -1, "n_steps must be a whole number"),
        ("n_heads", 0, "n_heads must be from 1 to 10,000,000, got 0"),
        ("n_heads", 10**15, "n_heads must be from 1 to 10,000,000"),
        ("widths", [10**9, 8], "widths must be at most 16 numbers of up to 4,096"),
        ("learning_rate", "1e-3", "learning_rate must be a number from 0 on, got '1e-3'"),
        ("learning_rate", float("nan"), "learning_rate must be a number"),
        ("sliced", float("inf"), "sliced must be a number"),
        ("widths", [], "widths must be a list of whole numbers from 1 on"),
        ("widths", [8, 0], "widths must be a list of whole numbers"),
        ("widths", [8, 16, 32], "widths and n_residual must be of the same length"),
        ("start", 3, "start must be a text"),
        ("ema", 1.0, "ema below 1"),
        ("cooldown", 0.0, "cooldown must be above 0"),
        ("mixed", 17, "mixed must be at most n_cases and batch_size"),
        ("batch_size", 3, "mixed must be at most n_cases and batch_size"),
        ("seed", 10**30, r"seed must be below 2\*\*63"),
    ],
)
def test_wrong_values_are_named_with_their_file(name, value, words, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({name: value}))
    with pytest.raises(ValueError, match=rf"mine\.json: .*{words}"):
        Recipe.load(path)


def test_a_recipe_without_a_loss_learns_nothing():
    terms = ("sliced", "pyramid", "direction", "moment", "transport")
    with pytest.raises(ValueError, match="nothing to learn: raise the weight of a term"):
        Recipe(**dict.fromkeys(terms, 0.0))
    assert Recipe(**dict.fromkeys(terms[:-1], 0.0), transport=1.0).transport == 1


def test_files_of_others_stay(recipe, tmp_path):
    (tmp_path / "curves.png").write_text("theirs")
    with pytest.raises(FileExistsError, match=r"curves.png exists and belongs to no run"):
        recipe.keep(tmp_path)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.skipif(not RUNS.is_dir(), reason="a checkout has the runs, an installation does not")
def test_recipes_of_the_published_runs_can_be_read():
    recipes = {path.parent.name: Recipe.load(path) for path in RUNS.glob("*/recipe.json")}
    assert recipes["11"].n_residual == (1, 1)
    assert recipes["13"].sliced == 0.3
    assert recipes["plain"].block_side == 1
    assert recipes["1"].transport == 0  # the default of a field that came later
    own = load_piunet().card["recipe"]
    assert dataclasses.replace(recipes["13"], start="run11") == Recipe.from_dict(own)
