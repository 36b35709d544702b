"""Files are written whole or not at all, also by two processes at once."""

import os
from multiprocessing import get_context

import pytest
from processes import write_once_both_are_ready

from mne_invkit._files import check_new, write_whole


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "made"


@pytest.mark.parametrize("is_folder", [True, False])
def test_two_processes_write_at_once(path, is_folder):
    context = get_context("spawn")
    barrier = context.Barrier(2)
    both = [
        context.Process(target=write_once_both_are_ready, args=(path, barrier, is_folder))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert [p.name for p in path.parent.iterdir()] == ["made"]
    assert (path / "whole" if is_folder else path).read_text() == "whole"


@pytest.mark.parametrize("before", [None, "old"])
def test_failure_leaves_what_was_there(path, before):
    if before:
        path.parent.mkdir()
        path.write_text(before)

    def half_write():
        with write_whole(path) as made:
            made.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        half_write()
    assert [p.read_text() for p in path.parent.iterdir()] == ([before] if before else [])


def test_file_is_replaced_and_seen_only_when_whole(path):
    path.parent.mkdir()
    path.write_text("old")
    with write_whole(path) as made:
        made.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_new_file_may_be_written(tmp_path):
    check_new(tmp_path / "new", overwrite=False)
    (tmp_path / "old").write_text("")
    check_new(tmp_path / "old", overwrite=True)


def test_file_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "old").write_text("")
    with pytest.raises(FileExistsError, match="old exists: pass --overwrite to replace it"):
        check_new(tmp_path / "old", overwrite=False, how="--overwrite")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_new(tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: make it first"):
        check_new(tmp_path / "nowhere" / "new", overwrite=True)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    with pytest.raises(PermissionError, match="new cannot be written"):
        check_new(tmp_path / "new", overwrite=True)
