"""Random montages are those of laboratories."""

import numpy as np
import pytest

from mne_invkit.population.montages import (
    CAPS,
    MAX_EEG,
    MIN_EEG,
    _without_neighbors,
    cap_names,
    draw_montage,
    farthest_points,
)


def test_montages_of_electrodes(eeg_head):
    rng = np.random.default_rng(0)
    sizes, named = [], 0
    for _ in range(200):
        rows = draw_montage(eeg_head, rng)
        assert (np.diff(rows) > 0).all()
        assert set(eeg_head.kinds[rows]) == {"eeg"}
        sizes.append(len(rows))
        named += set(eeg_head.names[rows]) <= set(cap_names("easycap-M1"))
    assert min(sizes) == MIN_EEG
    assert 200 < max(sizes) <= MAX_EEG
    assert 20 < named < 100
    assert len(set(sizes)) > 50


def test_montages_with_meg(meeg_head):
    rng, seen = np.random.default_rng(0), set()
    for _ in range(200):
        rows = draw_montage(meeg_head, rng)
        assert (np.diff(rows) > 0).all()
        kinds = meeg_head.kinds[rows]
        seen.add(frozenset(kinds.tolist()))
        if set(kinds) != {"eeg"}:
            assert 60 <= np.sum(kinds != "eeg") <= 306
    meg = [{"mag"}, {"grad"}, {"mag", "grad"}]
    assert seen == {frozenset(k) for k in [{"eeg"}, *meg, *({"eeg"} | kind for kind in meg)]}


def test_chosen_electrodes_are_evenly_spread(eeg_head):
    sensors = eeg_head.sensors
    rows = farthest_points(sensors, 64, 0)
    assert len(set(rows)) == 64
    apart = np.linalg.norm(sensors[rows, None] - sensors[rows], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1]
    assert nearest.min() > 0.5 * nearest.max()


def test_missing_electrodes_are_neighbors(eeg_head):
    """They are the electrodes nearest to one of them: a ball holds them and no others."""
    sensors = eeg_head.sensors
    rows = farthest_points(sensors, 64, 0)
    numbers = set()
    for seed in range(60):
        kept = _without_neighbors(eeg_head, rows, 12, np.random.default_rng(seed))
        lost = np.setdiff1d(rows, kept)
        assert len(kept) + len(lost) == len(rows)
        numbers.add(len(lost))
        to_lost, to_kept = (
            np.linalg.norm(sensors[lost, None] - sensors[some], axis=2) for some in (lost, kept)
        )
        assert (to_lost.max(axis=1) < to_kept.min(axis=1)).any()
    assert numbers == set(range(1, 13))


@pytest.mark.parametrize("cap", CAPS)
def test_caps_are_among_the_electrodes(eeg_head, cap):
    names = set(cap_names(cap))
    assert len(names) >= MIN_EEG
    assert names - set(eeg_head.names) <= {"O9", "O10"}
