"""Options NAME=VALUE mean what the solver's annotations say."""

import re

import pytest

from mne_invkit.cli.options import read_options, read_value
from mne_invkit.solvers.registry import Solver, get_solver


def fit(
    inst,
    forward,
    noise_cov=None,
    *,
    count: int = 1,
    size: float = 1.0,
    keep: bool = False,
    name: str | None = "a",
    depth: float | dict | None = 0.8,
    column: "str | np.ndarray" = "white",  # noqa: F821
    free=None,
    verbose=None,
):
    """Has an option of every kind."""


PLAIN = Solver("plain", fit, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keep=yes", True), ("keep=ON", True), ("keep=True", True), ("keep=1", True),
        ("keep=no", False), ("keep=Off", False), ("keep=FALSE", False), ("keep=0", False),
        ("count=3", 3), ("count=1e3", 1000), ("size=2", 2.0), ("size=-1e-3", -0.001),
        ("name=b", "b"), ("name=7", "7"), ('name="b c"', "b c"), ("name=a=b", "a=b"),
        ("name=None", None), ("depth=null", None), ("depth=NONE", None), ("depth=0.5", 0.5),
        ('depth={"exp": 1}', {"exp": 1}), ("column=[1, 0.5]", [1, 0.5]),
        ("free=on", True), ("free=none", None), ("free=[1]", [1]), ("free=x", "x"),
    ],
)  # fmt: skip
def test_values(text, expected):
    ((_, value),) = read_options(PLAIN, [text]).items()
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep=maybe", "keep takes yes or no, got 'maybe'"),
        ("keep=2", "keep takes yes or no"),
        ("keep=none", "keep takes yes or no"),
        ("count=2.5", "count takes a whole number, got '2.5'"),
        ("count=yes", "count takes a whole number"),
        ("count=", "count takes a whole number, got ''"),
        ("size=nan", "size takes a number, got 'nan'"),
        ("size=Infinity", "size takes a number"),
        ("size=off", "size takes a number, got 'off'"),
        ("size=" + 5000 * "9", "size"),
        ("name=no", "name takes a word or None, got 'no'"),
        ("depth=[1]", "depth takes a number or a JSON object or None"),
        ("depth=" + 5000 * "[", "depth takes"),
        ("column=none", "column takes a word or a JSON list of numbers"),
        ("verbose=1", "plain has no option verbose; it has column, count"),
        ("a=1", "plain has no option a"),
        ("a", "--set takes NAME=VALUE, got 'a'"),
    ],
)
def test_each_wrong_value_is_named(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_options(PLAIN, ["free=3", text])


def test_all_wrong_entries_are_named_at_once():
    with pytest.raises(ValueError, match=r"keep takes .* count takes .* no option b"):
        read_options(PLAIN, ["keep=x", "count=y", "b=1"])


def test_a_solver_that_takes_any_option():
    solver = Solver("any", lambda inst, forward, noise_cov, **options: None, "")
    assert read_options(solver, ["a=yes", "b=2", "c=x"]) == {"a": True, "b": 2, "c": "x"}


def test_no_annotation_takes_what_is_typed():
    assert read_value("[1, 2]", set()) == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("kronbayes", "noise=bogus", "noise must be one of"),
        ("kronbayes", "occam=0.5", "occam must be"),
        ("kronbayes", "buffer_size=1", "buffer_size must be a whole number of at least 2"),
        ("kronbayes", "depth=3", "depth must lie between"),
        ("kronbayes", "pick_ori=up", "pick_ori must be"),
        ("eloreta", "lambda2=-1", "lambda2 must be"),
        ("eloreta", "pick_ori=up", "pick_ori must be"),
        ("piunet", "batch_size=0", "batch_size must be"),
        ("piunet", "n_jobs=0", "n_jobs must be"),
        ("piunet", "model=mine", "There is no model 'mine'"),
        ("piunet", "backend=bogus", "backend must be"),
    ],
)
def test_solvers_check_their_options_without_data(name, text, message):
    with pytest.raises(ValueError, match=message):
        read_options(get_solver(name), [text])


@pytest.mark.parametrize("name", ["kronbayes", "eloreta", "piunet"])
def test_defaults_pass_the_checks(name):
    solver = get_solver(name)
    assert read_options(solver, []) == {}
    assert read_options(solver, ["pick_ori=vector"]) == {"pick_ori": "vector"}
