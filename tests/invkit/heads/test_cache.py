"""The cache holds whole files, and mends itself."""

import json
import os
from multiprocessing import get_context

import pytest
from caches import cache_once_both_are_ready

from mne_invkit.heads.cache import cache_folder, cached


def write(text):
    """Build a folder of two files, one of them in a folder of its own."""

    def build(made):
        (made / "inner").mkdir()
        (made / "inner" / "one").write_text(text)
        (made / "two").write_text(text * 2)

    return build


def fail(made):
    raise OSError("disk full")


def contents(folder):
    return [(folder / name).read_text() for name in ("inner/one", "two")]


@pytest.fixture
def folder(tmp_path):
    return cached(tmp_path / "cache" / "made", write("old"))


def test_built_once_and_never_half(tmp_path):
    path = tmp_path / "cache" / "made"
    with pytest.raises(OSError, match=r"disk full.*set the environment variable MNE_INVKIT_CACHE"):
        cached(path, fail)
    assert list(path.parent.iterdir()) == []
    assert cached(path, write("a")) == cached(path, fail) == path
    assert contents(path) == ["a", "aa"]


@pytest.mark.parametrize("name", ["inner/one", "two", "checksums.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing", "folder"])
def test_damage_is_noticed_and_mended_once(name, damage, folder, caplog):
    path = folder / name
    old = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        damaged = dict(flipped=bytes([old[0] ^ 1]) + old[1:], truncated=old[:-1], empty=b"")
        path.write_bytes(damaged[damage])
    cached(folder, write("new"))
    assert contents(folder) == ["new", "newnew"]
    cached(folder, fail)  # whole again
    assert [p.name for p in folder.parent.iterdir()] == ["made"]


def test_what_others_add_is_no_damage(folder):
    (folder / "theirs").write_text("theirs")
    cached(folder, fail)


def test_checksums_that_are_no_checksums(folder):
    for text in ("[]", "{}", "3", json.dumps({"two": "x"}), json.dumps({"../made/two": 1})):
        (folder / "checksums.json").write_text(text)
        assert contents(cached(folder, write("new"))) == ["new", "newnew"]


def test_failure_to_mend_leaves_what_was_there(folder):
    (folder / "two").write_text("damaged")
    with pytest.raises(OSError, match="disk full"):
        cached(folder, fail)
    assert contents(folder) == ["old", "damaged"]


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_at_once(damaged, tmp_path):
    folder = tmp_path / "cache" / "made"
    if damaged:
        cached(folder, write("old"))
        (folder / "two").write_text("damaged")
    context = get_context("spawn")
    barrier = context.Barrier(2)
    both = [
        context.Process(target=cache_once_both_are_ready, args=(folder, barrier)) for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert [p.name for p in folder.parent.iterdir()] == ["made"]
    cached(folder, fail)
    assert (folder / "whole").read_text() == "whole"


def test_folder_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNE_INVKIT_CACHE", "~/cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("MNE_INVKIT_CACHE", "")
    assert cache_folder().name == "mne-invkit"


def test_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("theirs")
    with pytest.raises(OSError, match=r"file.*set the environment variable MNE_INVKIT_CACHE"):
        cached(tmp_path / "file" / "made", write("a"))
    if os.path.isdir("/proc/self"):  # nobody may write there, not even root
        with pytest.raises(OSError, match=r"/proc/self.*MNE_INVKIT_CACHE to a folder of yours"):
            cached("/proc/self/cache/made", write("a"))
