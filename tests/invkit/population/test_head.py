"""Heads are consistent, lose sensors when asked, and survive in files."""

import numpy as np
import pytest

from mne_invkit.population.head import Head
from mne_invkit.population.montages import draw_montage


def test_arrays_fit_together(head):
    shape = len(head.names), 3 * len(head.positions)
    assert head.gain.shape == head.data_gain.shape == shape
    assert head.gain.dtype == head.data_gain.dtype == np.float32
    assert len(head.sensors) == len(head.kinds) == len(head.names) == len(set(head.names))
    assert np.isfinite(head.gain).all()
    assert np.isfinite(head.data_gain).all()


def test_kind_of_head(eeg_head, meeg_head):
    assert eeg_head.normals is None
    np.testing.assert_allclose(np.linalg.norm(meeg_head.normals, axis=1), 1)
    assert set(eeg_head.kinds) == {"eeg"}
    assert set(meeg_head.kinds) == {"eeg", "mag", "grad"}


def test_pick_keeps_rows(eeg_head):
    rows = draw_montage(eeg_head, np.random.default_rng(1))
    picked = eeg_head.pick(rows)
    for name in ("gain", "data_gain", "sensors", "kinds", "names"):
        np.testing.assert_array_equal(getattr(picked, name), getattr(eeg_head, name)[rows])
    assert picked.positions is eeg_head.positions


def test_file_keeps_the_head(head, tmp_path):
    path = tmp_path / "head.npz"
    head.save(path)
    read = Head.load(path)
    assert read.seed == head.seed
    for name in ("gain", "data_gain"):
        was, now = getattr(head, name), getattr(read, name)
        assert now.dtype == np.float32
        scale = np.abs(was).max(axis=1, keepdims=True)
        assert (np.abs(now - was) <= 5e-4 * np.abs(was) + 1e-11 * scale).all()
    for name in ("positions", "sensors"):
        np.testing.assert_allclose(getattr(read, name), getattr(head, name), atol=1e-7)
    np.testing.assert_array_equal(read.kinds, head.kinds)
    np.testing.assert_array_equal(read.names, head.names)
    if head.normals is None:
        assert read.normals is None
    else:
        np.testing.assert_allclose(read.normals, head.normals, atol=1e-6)
    assert path.stat().st_size < 4.2 * head.gain.size + 1e6
    assert [p.name for p in tmp_path.iterdir()] == ["head.npz"]


def test_failed_write_leaves_nothing(eeg_head, tmp_path, monkeypatch):
    def half(path, **values):
        path.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        eeg_head.save(tmp_path / "head.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "pickled", "missing"])
def test_damaged_file_is_named(eeg_head, tmp_path, damage):
    path = tmp_path / "head.npz"
    eeg_head.save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    if damage == "pickled":
        np.savez(path, seed=np.array([object()]))
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(dict(truncated=whole[:-9], flipped=flipped, empty=b"")[damage])
    with pytest.raises((ValueError, FileNotFoundError), match=r"head.npz.* build the population"):
        Head.load(path)
