"""Configurations of files and of the command line: every wrong entry has its name in the error."""

import pytest
from odd_files import make_pipe

pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
yaml = pytest.importorskip("yaml")

from subdistill.vision.config import Config, read_config

NAMES = ["teacher=a", "student=b", "data=c"]


def test_options_replace_entries_of_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    entries = dict(teacher="a", student="b", data="c", size=8, recipe=dict(epochs=2, weight=3.0))
    path.write_text(yaml.safe_dump(entries))
    found = read_config(path, ["size=16", "recipe.weight=2", "classes=[cat, [1, 2]]"])
    assert found == Config(
        "a", "b", "c", size=16, recipe=dict(epochs=2, weight=2), classes=["cat", [1, 2]]
    )
    alone = read_config(None, ["teacher=a", "student=b", "data=c"])
    assert alone == Config("a", "b", "c")


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="teacher is missing: pass --set teacher="):
        read_config(None, [])
    with pytest.raises(ValueError, match="no entry 'teacha': pass one of teacher, student"):
        read_config(None, ["teacha=1"])
    with pytest.raises(ValueError, match="--set takes NAME=VALUE, got 'teacher'"):
        read_config(None, ["teacher"])


@pytest.mark.parametrize("value", ["1e-3", "1E-3", "0.001", ".001", "+1.0e-3"])
def test_numbers_are_numbers(value):
    """YAML 1.1 takes 1e-3 for a text."""
    found = read_config(None, [*NAMES, f"recipe.learning_rate={value}"])
    assert found.recipe == {"learning_rate": 0.001}


@pytest.mark.parametrize("word", ["None", "null", "NULL", "~", ""])
def test_words_for_nothing(word):
    assert read_config(None, [*NAMES, f"layers={word}"]).layers is None


@pytest.mark.parametrize("word", ["yes", "No", "TRUE", "off", "oN"])
def test_words_for_true_and_false_are_no_texts(word):
    with pytest.raises(TypeError, match=r"objective must be a text, got (True|False)"):
        read_config(None, [*NAMES, f"objective={word}"])
    assert read_config(None, [*NAMES, f"objective='{word}'"]).objective == word


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ("recipe.learning_rate=fast", "recipe.learning_rate must be a number, got 'fast'"),
        ("recipe.learning_rate=.nan", "recipe.learning_rate must be a number"),
        ("recipe.learning_rate=1e999", "recipe.learning_rate must be a number, got inf"),
        ("recipe.epochs=010", "recipe.epochs must be a whole number, got '010'"),
        ("recipe.epochs=1:30", "recipe.epochs must be a whole number, got '1:30'"),
        ("recipe.epochs=2.5", "recipe.epochs must be a whole number, got 2.5"),
        ("recipe.epochs=-1", "at least one epoch"),
        ("recipe.learning_rate=-1", "cannot be negative"),
        (f"recipe.seed={2**63}", r"seed of a recipe must be below 2\*\*63"),
        ("recipe.ema=1", "ema of a recipe must be from 0 to below 1"),
        ("recipe.speed=1", "no entry 'recipe.speed': pass one of recipe.epochs"),
        ("recipe=fast", "recipe must be entries NAME: VALUE, got 'fast'"),
        ("size=large", "size must be a whole number, got 'large'"),
        ("size=0", "size and batch_size must be 1 or more"),
        ("fraction=0", "fraction must be above 0"),
        ("validation=1", "validation between 0 and 1"),
        ("classes=cat", "classes must be a list or null, got 'cat'"),
        ("teacher.depth=3", "teacher has no entries of its own"),
        ("classes=[cat", "--set classes, line 1: this is no YAML"),
        ("data=!!python/name:os.system", "--set data, line 1: this is no YAML"),
        ("teacher_weights=nowhere.pt", "no file nowhere.pt: pass teacher_weights="),
        ("=3", "--set takes NAME=VALUE"),
    ],
)
def test_wrong_entries_are_named(option, match):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=match):
        read_config(None, [*NAMES, option])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("teacher: a\nstudent: [b\n", "a.yaml, line 3: this is no YAML"),
        ("teacher: a\n b: c: d", "a.yaml, line 2: this is no YAML"),
        ("a: &x [1, 1]\nb: [*x, *x]", r"a.yaml: this is no YAML \(references"),
        ("size: 3\nsize: 4", r"a.yaml: this is no YAML \(an entry stands there twice"),
        ("- teacher", "a.yaml holds no entries"),
        ("[" * 2000, "a.yaml.*: this is no YAML"),
        ("teacher: \u0007", "a.yaml.*: this is no YAML"),
        ("3: a", "a.yaml: There is no entry '3'"),
        ("size: large", "a.yaml: size must be a whole number"),
        ("recipe: {speed: 3}", "a.yaml: There is no entry 'recipe.speed'"),
    ],
)
def test_files_that_hold_no_configuration_are_named(text, match, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises((TypeError, ValueError), match=match):
        read_config(path, [])


def test_what_is_no_file_is_named(tmp_path):
    make_pipe(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no ordinary file: pass a configuration"):
        read_config(tmp_path / "pipe", [])
