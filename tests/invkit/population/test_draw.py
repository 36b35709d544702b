"""Seeds decide the heads, and a population is computed once."""

import numpy as np
import pytest

from mne_invkit.population.draw import Population, head_kind, make_head
from mne_invkit.population.head import Head

# %% One head


@pytest.fixture
def inputs(coarse, monkeypatch):
    """What a head's gains are computed from, without the work to compute them."""

    def inputs(seed, **options):
        given = []

        def compute_gain(anatomy, conductivity, sensors, positions):
            shells = [shell["rr"] for shell in anatomy.shells.values()]
            given.append([*shells, conductivity, sensors.positions, sensors.axes, positions])
            return np.zeros((len(sensors.names), 3 * len(positions)), np.float32)

        monkeypatch.setattr("mne_invkit.population.draw.compute_gain", compute_gain)
        head = make_head(seed, **options)
        return head, [array for arrays in given for array in arrays]

    return inputs


def test_seed_decides(inputs, eeg_head):
    same, arrays = inputs(eeg_head.seed, src="volume", meg=False)
    for name in ("positions", "sensors", "names"):
        np.testing.assert_array_equal(getattr(same, name), getattr(eeg_head, name))
    for first, second in zip(arrays, inputs(0, src="volume", meg=False)[1], strict=True):
        np.testing.assert_array_equal(first, second)
    _, others = inputs(1, src="volume", meg=False)
    differ = [a.shape != b.shape or np.abs(a - b).max() > 1e-4
              for a, b in zip(map(np.asarray, arrays), map(np.asarray, others), strict=True)
              if np.any(a)]  # fmt: skip
    assert len(differ) == 12
    assert all(differ)


def test_data_come_from_another_head_and_moved_sensors(inputs):
    """The two gains differ in shells, conductivities and sensors; the locations are the same."""
    head, arrays = inputs(5, src="cortex", meg=True)
    own, other = arrays[:7], arrays[7:]
    *differ, positions = [np.abs(np.subtract(a, b)).max() for a, b in zip(own, other, strict=True)]
    assert min(differ) > 1e-4
    assert positions == 0
    np.testing.assert_array_equal(own[-1], head.positions)
    np.testing.assert_array_equal(own[4], head.sensors)


def test_kinds_are_drawn_from_the_seed():
    kinds = [head_kind(seed) for seed in range(300)]
    assert kinds == [head_kind(seed) for seed in range(300)]
    src, meg = zip(*kinds, strict=True)
    assert 0.4 < np.mean(np.array(src) == "cortex") < 0.6
    assert 0.25 < np.mean(meg) < 0.42
    assert head_kind(0, src="cortex", meg=True) == ("cortex", True)
    with pytest.raises(ValueError, match='src must be "volume", "cortex" or None'):
        make_head(0, src="surface")


def test_gain_that_is_not_finite_is_drawn_again(eeg_head, monkeypatch):
    drawn = []

    def broken_once(seed, rng, src, meg):
        drawn.append(rng.random())
        gain = eeg_head.gain * np.float32(np.nan if len(drawn) == 1 else 1)
        return Head(**vars(eeg_head) | dict(data_gain=gain))

    monkeypatch.setattr("mne_invkit.population.draw._draw_head", broken_once)
    assert np.isfinite(make_head(0).data_gain).all()
    assert len(set(drawn)) == 2


# %% Many heads


def test_population_resumes_after_an_interruption(eeg_head, tmp_path, monkeypatch):
    made = []

    def make(seed, *, src, meg):
        made.append(seed)
        assert (src, meg) == ("volume", False)
        if len(made) == 2:
            raise KeyboardInterrupt
        return Head(**vars(eeg_head) | dict(seed=seed))

    monkeypatch.setattr("mne_invkit.population.draw.make_head", make)
    many = Population(tmp_path / "heads", [7, 8, 9], src="volume", meg=False)
    with pytest.raises(FileNotFoundError, match=r"call the method build\(\) first"):
        many[0]
    with pytest.raises(KeyboardInterrupt):
        many.build(n_jobs=1, verbose=False)
    left_over = many.folder / ".writing-killed"
    left_over.mkdir()
    (left_over / many.path(1).name).write_bytes(b"half a file")
    many.build(n_jobs=1, verbose=False)
    assert made == [7, 8, 8, 9]
    assert (len(many), [many[i].seed for i in range(3)]) == (3, [7, 8, 9])
    many.build(n_jobs=1, verbose=False)
    assert len(made) == 4


def test_population_names_files_by_seed_and_kind(tmp_path):
    many = Population(tmp_path, 4)
    assert many.seeds == (0, 1, 2, 3)
    assert [many.kinds[i] for i in range(4)] == [head_kind(i) for i in range(4)]
    assert Population(tmp_path, [12], src="cortex", meg=True).path(0).name == (
        "head-000012-cortex-meeg.npz"
    )


def test_folder_that_cannot_hold_heads_is_named_before_one_is_drawn(tmp_path, monkeypatch):
    def draw(*args):
        raise AssertionError("long work")

    monkeypatch.setattr("mne_invkit.population.draw._build", draw)
    (tmp_path / "file").write_text("theirs")
    with pytest.raises(OSError, match=r"file of the heads cannot be made .*: choose one"):
        Population(tmp_path / "file", 1).build(n_jobs=1)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write all
    with pytest.raises(PermissionError, match=r"head-000000.* cannot be written"):
        Population(tmp_path / "folder", 1).build(n_jobs=1)
