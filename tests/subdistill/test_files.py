"""Files are written as a whole, or not at all, and run nothing when they are read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from odd_files import make_pipe

torch = pytest.importorskip("torch")

from subdistill.files import (
    check_new,
    check_run,
    read_checkpoint,
    read_tensors,
    read_text,
    replacing,
    write_tensors,
)


def test_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    with replacing(path) as new:
        assert (new.parent, new.suffix) == (tmp_path, ".csv")
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_old_file_stays_after_an_error(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(path) as new:  # noqa: PT012
        new.write_text("ne")
        raise OSError("The disk is full.")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_a_first_file_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.csv") as new:  # noqa: PT012
        new.write_text("ne")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


# %% Several processes

KILLED = """
import os, sys
from pathlib import Path
from subdistill.files import replacing
with replacing(Path(sys.argv[1])) as new:
    new.write_text("half")
    os._exit(9)  # no clean-up, as when it is killed
"""


def test_next_writer_deletes_what_a_killed_one_left(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "log.csv"
    path.write_text("old")
    (tmp_path / ".theirs.new.csv").write_text("theirs")
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == 9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    with replacing(tmp_path / "other.csv") as new:
        new.write_text("new")
    assert {p.name for p in tmp_path.iterdir()} == {"log.csv", ".theirs.new.csv", "other.csv"}


def test_two_writers_do_not_share_a_file(tmp_path):
    path = tmp_path / "log.csv"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
    assert path.read_text() == "one"  # the last to finish
    assert list(tmp_path.iterdir()) == [path]


def test_target_of_a_link_is_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "folder" / "link"
    target.write_text("old")
    link.parent.mkdir()
    link.symlink_to(target)
    with replacing(link) as new:
        new.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


# %% Before any work


def test_file_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    old = tmp_path / "old"
    old.write_text("")
    check_new(old, overwrite=True)
    with pytest.raises(FileExistsError, match="old exists: pass overwrite=True"):
        check_new(old, overwrite=False)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_new(tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: make it first"):
        check_new(tmp_path / "nowhere" / "new", overwrite=False)
    make_pipe(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="pipe is no ordinary file"):
        check_new(tmp_path / "pipe", overwrite=True)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    with pytest.raises(PermissionError, match="new cannot be written: choose another folder"):
        check_new(tmp_path / "new", overwrite=False)


def test_folder_of_a_run(tmp_path, monkeypatch):
    folder = tmp_path / "some" / "run"
    check_run(folder, "first", ["second"])
    assert folder.is_dir()
    (folder / "second").write_text("theirs")
    with pytest.raises(FileExistsError, match="second exists and belongs to no run"):
        check_run(folder, "first", ["second"])
    (folder / "first").write_text("ours")
    check_run(folder, "first", ["second"])
    with pytest.raises(NotADirectoryError, match="first is a file: pass a folder"):
        check_run(folder / "first", "first", [])
    with pytest.raises(OSError, match=r"deeper cannot be made.*pass another"):
        check_run(folder / "first" / "deeper", "first", [])
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match="run cannot be written: pass another folder"):
        check_run(folder, "first", [])


# %% Reading


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(zipped, tmp_path):
    path, sprung = tmp_path / "trap.ckpt", tmp_path / "sprung"
    torch.save({"step": Trap(sprung)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"trap.ckpt .*nothing in it was run. Pass a checkpoint"):
        read_checkpoint(path, "a checkpoint")
    assert not sprung.exists()


def test_every_bit_of_a_checkpoint_counts(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(64), "step": 3}, path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(torch.ones(64).numpy().tobytes())] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"a.ckpt is damaged"):
        read_checkpoint(path, "a checkpoint")


def test_tensors_have_a_checksum(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"one": torch.arange(6.0).reshape(2, 3), "two": torch.ones(2)})
    assert read_tensors(path, "weights")["one"].tolist() == [[0, 1, 2], [3, 4, 5]]
    whole = path.read_bytes()
    for old, new in ((b"[2,3]", b"[3,2]"), (b'"two"', b'"tow"'), (whole[-1:], b"\xff")):
        path.write_bytes(new.join(whole.rsplit(old, 1)))
        with pytest.raises(ValueError, match=r"a.safetensors is damaged: its checksum differs"):
            read_tensors(path, "weights")
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"a.safetensors is damaged, or no file of safetensors"):
        read_tensors(path, "weights")


@pytest.mark.parametrize("read", [read_text, read_tensors, read_checkpoint])
def test_what_is_no_file_is_named_at_once(read, tmp_path):
    make_pipe(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(ValueError, match="is no ordinary file: pass a model"):
            read(tmp_path / name, "a model")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("nothing", "loop", "x" * 5000, "a\0b"):
        with pytest.raises((FileNotFoundError, ValueError), match="pass a model"):
            read(tmp_path / name, "a model")


def test_texts_are_short_and_in_utf_8(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("\ufeffgrün", encoding="utf-8")
    assert read_text(path, "a text") == "grün"
    path.write_bytes(b"gr\xfcn")
    with pytest.raises(ValueError, match=r"a.json is no text in UTF-8"):
        read_text(path, "a text")
    with path.open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(ValueError, match=r"a.json has more than 1,000,000 bytes"):
        read_text(path, "a text")
