"""The grids of options hold what they promise."""

import itertools

from pairs import all_pairs, combinations, grid, pairs_in

OPTIONS = dict(a=[1, 2, 3], b=["x", "y"], c=[True, False], d=list(range(5)))


def test_every_pair_of_values_is_covered_by_few_combinations():
    covered = set().union(*map(pairs_in, all_pairs(OPTIONS)))
    for (one, values), (other, others) in itertools.combinations(OPTIONS.items(), 2):
        for pair in itertools.product(values, others):
            assert tuple(zip((one, other), pair, strict=True)) in covered
    assert len(all_pairs(OPTIONS)) <= 18  # at least 15, of 60
    assert all_pairs(OPTIONS) == all_pairs(OPTIONS)


def test_the_rest_of_the_grid_is_extended():
    parameters = grid(**OPTIONS)
    assert [one.values[0] for one in parameters] == combinations(OPTIONS)
    plain = [one.values[0] for one in parameters if not one.marks]
    assert sorted(plain, key=str) == sorted(all_pairs(OPTIONS), key=str)
    assert {mark.name for one in parameters for mark in one.marks} == {"extended"}
