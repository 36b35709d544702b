"""Grids of options: all pairs of values in every run, all combinations where that is asked for."""

import itertools
import random

import pytest


def combinations(options: dict) -> list[dict]:
    """Return all combinations of one value for each option."""
    return [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]


def pairs_in(combination: dict) -> set:
    """Return the pairs of values of two options that a combination holds."""
    return set(itertools.combinations(combination.items(), 2))


def all_pairs(options: dict, seed: int = 0) -> list[dict]:
    """Return few combinations that together hold every pair of values of two options.

    Each next combination is the one that holds most of the pairs that are still missing.
    """
    todo = combinations(options)
    random.Random(seed).shuffle(todo)
    missing = set().union(*map(pairs_in, todo))
    chosen = []
    while missing:
        chosen.append(max(todo, key=lambda one: len(pairs_in(one) & missing)))
        missing -= pairs_in(chosen[-1])
    return chosen


def grid(**options) -> list:
    """Return all combinations as parameters; those that all pairs can do without are `extended`."""
    chosen = all_pairs(options)
    return [
        pytest.param(
            one,
            id="-".join(f"{value}" for value in one.values()),
            marks=() if one in chosen else pytest.mark.extended,
        )
        for one in combinations(options)
    ]
