"""Files are written whole or not at all, also by two processes at once and on a full disk."""

import errno
import os
import stat
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from processes import full_disk, write_once_both_are_ready

from mne_invkit import _files
from mne_invkit._files import check_new, write_bytes, write_whole

posix = pytest.mark.skipif(os.name != "posix", reason="needs links, modes and processes of POSIX")


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
    with pytest.raises(TypeError, match="overwrite must be True or False, got 'no'"):
        check_new(tmp_path / "old", overwrite="no")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: make it first"):
        check_new(tmp_path / "nowhere" / "new", overwrite=True)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    with pytest.raises(PermissionError, match="new cannot be written"):
        check_new(tmp_path / "new", overwrite=True)


# %% Disks, processes, links


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB with an old file on it."""
    with full_disk(tmp_path / "disk") as folder:
        (folder / "old").write_text("old")
        yield folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_full_disk_is_an_error_that_names_the_file(disk):
    with pytest.raises(OSError, match=r"No space left on device.*old'") as caught:
        write_bytes(disk / "old", bytes(2**21))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(disk / "old")
    assert (disk / "old").read_text() == "old"
    assert names(disk) == ["old"]


@posix
def test_a_limit_of_the_size_is_an_error_that_names_the_file(tmp_path):
    """As a full disk, where no small disk can be made."""
    import resource

    (tmp_path / "old").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
        with pytest.raises(OSError, match=r"File too large.*old'"):
            write_bytes(tmp_path / "old", bytes(2**21))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "old").read_text() == "old"
    assert names(tmp_path) == ["old"]


def test_an_error_of_another_file_keeps_its_name(path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), write_whole(path):
        Path("elsewhere").read_text()


def test_ctrl_c_leaves_what_was_there(tmp_path):
    path = tmp_path / "made"
    path.write_text("old")

    def half_write():
        with write_whole(path) as made:
            made.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["made"]


def test_contents_reach_the_disk_before_the_name(path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append("contents"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *both: order.append("name") or replace(*both))
    write_bytes(path, b"new")
    assert order[:2] == ["contents", "name"]


def leave(folder, host, pid):
    """What a process leaves that was killed as it wrote."""
    left = folder / f".writing-{host}-{pid}-abcd1234"
    left.mkdir()
    (left / "made").write_text("half")
    return left


@posix
def test_what_a_killed_process_has_left_is_removed_by_the_next_one(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leave(tmp_path, _files._HOST, dead.pid)
    leave(tmp_path, _files._HOST, os.getpid())  # an earlier process of the same number
    write_bytes(tmp_path / "new", b"new")
    assert names(tmp_path) == ["new"]


@posix
def test_what_others_are_writing_stays(tmp_path):
    alive = leave(tmp_path, _files._HOST, os.getppid())
    elsewhere = leave(tmp_path, "other_computer", 1)
    with write_whole(tmp_path / "one") as made:
        made.write_text("one")
        write_bytes(tmp_path / "two", b"two")
    assert names(tmp_path) == sorted([alive.name, elsewhere.name, "one", "two"])
    old = time.time() - 2 * _files._DAY
    for left in (elsewhere, elsewhere / "made"):
        os.utime(left, (old, old))
    write_bytes(tmp_path / "two", b"two")
    assert names(tmp_path) == sorted([alive.name, "one", "two"])


@posix
def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "target", tmp_path / "link"
    link.symlink_to(target)
    for contents in (b"first", b"second"):
        check_new(link, overwrite=True)
        write_bytes(link, contents)
        assert link.is_symlink()
        assert target.read_bytes() == contents
    with pytest.raises(FileExistsError, match="link exists"):
        check_new(link, overwrite=False)


@posix
def test_modes_are_the_usual_ones(tmp_path):
    path, usual = tmp_path / "made", tmp_path / "usual"
    usual.write_bytes(b"")
    write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    path.chmod(0o640)
    write_bytes(path, b"again")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@posix
def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(FileExistsError, match="device or a pipe"):
            check_new(path, overwrite=True)
