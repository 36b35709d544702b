"""Recipes: what a file holds, what a folder keeps."""

import dataclasses
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


@pytest.mark.skipif(not RUNS.is_dir(), reason="a checkout has the runs, an installation does not")
def test_recipes_of_the_published_runs_can_be_read():
    recipes = {path.parent.name: Recipe.load(path) for path in RUNS.glob("*/recipe.json")}
    assert recipes["11"].n_residual == (1, 1)
    assert recipes["13"].sliced == 0.3
    assert recipes["plain"].block_side == 1
    assert recipes["1"].transport == 0  # the default of a field that came later
    own = load_piunet().card["recipe"]
    assert dataclasses.replace(recipes["13"], start="run11") == Recipe.from_dict(own)
