"""Files of plain values: they come back as they were, and any other file is refused by name."""

import os

import h5py
import numpy as np
import pytest
from sealed import ROOM, seal, seal_bytes

from mne_invkit import _hdf5
from mne_invkit._hdf5 import FORMAT, read_plain, write_plain

RNG = np.random.default_rng(0)
CONTENTS = {
    "text": "Größe, 大きさ, \x00",
    "numbers": [True, 3, -(2**70), 0.1, float("inf"), None],
    "pair": (1, ("two", [3])),
    "bytes": b"\x00\xff",
    "empty": {"dict": {}, "list": [], "tuple": (), "text": "", "bytes": b""},
    "a/b.c": {"array": RNG.standard_normal((2, 3)), "structure": np.arange(3)},
    "a": {"b.c": {"array": np.zeros((0, 4), np.float32)}},
    "kinds": [
        RNG.integers(0, 9, (3, 2)).astype(kind)
        for kind in ("?", "i1", "u2", "<i4", ">i8", "f2", "f4", ">f8", "c8", "c16")
    ],
    "scalar": np.array(2.5),
}


def same(one, other):
    """Whether two nested things are the same, with types and the order of arrays in memory."""
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.flags.f_contiguous == other.flags.f_contiguous
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert type(one) is type(other)
        for first, second in zip(one, other, strict=True):
            same(first, second)
    else:
        assert type(one) is type(other)
        assert one == other


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.h5"


@pytest.fixture
def written(path):
    write_plain(path, "test", CONTENTS)
    return path


def test_all_comes_back(written):
    kind, contents = read_plain(written)
    assert kind == "test"
    same(contents, CONTENTS)


def test_scalars_of_numpy_become_plain_numbers(path):
    write_plain(path, "test", {"all": [np.float64(0.1), np.float32(0.1), np.int64(3), np.True_]})
    same(read_plain(path)[1], {"all": [0.1, float(np.float32(0.1)), 3, True]})


def test_the_order_in_memory_stays(path):
    """Products of transposed arrays are rounded otherwise."""
    array = RNG.standard_normal((4, 3))
    write_plain(path, "test", {"by_columns": array.T, "part": array[:, :2]})
    contents = read_plain(path)[1]
    assert contents["by_columns"].flags.f_contiguous
    np.testing.assert_array_equal(contents["by_columns"], array.T)
    np.testing.assert_array_equal(contents["part"], array[:, :2])


def test_other_programs_can_read_it(written):
    with h5py.File(written) as file:
        assert file["kinds.6"].dtype == np.float32
        np.testing.assert_array_equal(file["scalar"], 2.5)


@pytest.mark.parametrize(
    "wrong", [{1: 2}, {"a": {2, 3}}, {"a": [object()]}, {"a": np.array(["b"])}, {"a": 1j}]
)
def test_what_cannot_be_stored_is_told_before_a_file_is_there(wrong, path):
    with pytest.raises(TypeError, match="cannot be stored"):
        write_plain(path, "test", wrong)
    with pytest.raises(ValueError, match="kind of a file"):
        write_plain(path, "a\nb", {})
    assert not path.exists()


def test_a_file_that_is_replaced_meanwhile_is_read_as_it_was(written, monkeypatch):
    """Another process may put a larger one into its place."""
    check = _hdf5._check_header

    def replace_and_check(path, opened):
        write_plain(path, "test", {"larger": np.zeros(10**4)})
        return check(path, opened)

    monkeypatch.setattr(_hdf5, "_check_header", replace_and_check)
    same(read_plain(written)[1], CONTENTS)


# %% Files that are refused


def refused(path, match):
    with pytest.raises((ValueError, OSError), match=match) as caught:
        read_plain(path)
    assert str(path) in str(caught.value)


def test_no_changed_byte_goes_unseen(written):
    whole = written.read_bytes()
    for place in (*range(0, ROOM, 7), *range(ROOM, len(whole), 31)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        written.write_bytes(changed)
        refused(written, "damaged|not a file that|newer version")


def test_no_lost_or_added_part_goes_unseen(written):
    whole = written.read_bytes()
    for size in (0, 1, 100, ROOM - 1, ROOM, len(whole) // 2, len(whole) - 1):
        written.write_bytes(whole[:size])
        refused(written, "empty|damaged|not a file that")
    written.write_bytes(whole + b"\0")
    refused(written, "damaged")


def test_a_newer_format_asks_for_an_update(written):
    whole = written.read_bytes()
    written.write_bytes(whole.replace(b"format 2", b"format 3", 1))
    refused(written, r"newer version of mne-invkit \(format 3.*pip install -U mne-invkit")
    assert FORMAT == 2


def test_what_is_no_file_of_ours_is_told(tmp_path, path):
    refused(tmp_path / "none.h5", "There is no file")
    refused(tmp_path, "not a file, but a folder")
    with pytest.raises(TypeError, match="must be a path, got NoneType"):
        read_plain(None)
    path.write_text("plain text")
    refused(path, "not a file that mne-invkit wrote")
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.h5")
        refused(tmp_path / "pipe.h5", "a device or a pipe")
        with pytest.raises(ValueError, match="/dev/zero is not a file"):
            read_plain("/dev/zero")


def put(file, structure='{"dict": {"a": {"array": "a"}}}', **kwargs):
    file.create_dataset("structure", data=np.bytes_(structure))
    if kwargs:
        file.create_dataset("a", **kwargs)


CRAFTED = {
    "a bomb of gzip": lambda file: put(
        file, data=np.zeros(10**6), compression="gzip", chunks=(10**6,)
    ),
    "an array that was never written": lambda file: put(file, shape=(10**12,), dtype="f8"),
    "chunks that were never written": lambda file: put(
        file, shape=(10**12,), dtype="f8", chunks=(10**6,)
    ),
    "another file": lambda file: (
        put(file), file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/")),
    ),
    "data of another file": lambda file: put(
        file, shape=(8,), dtype="u1", external=[("/etc/passwd", 0, 8)]
    ),
    "a soft link": lambda file: (put(file), file.__setitem__("a", h5py.SoftLink("/structure"))),
    "a link in a circle": lambda file: (put(file), file.__setitem__("a", file["/"])),
    "a path": lambda file: (
        put(file, '{"dict": {"a": {"array": "/b/a"}}}'),
        file.create_group("b").__setitem__("a", [1]),
    ),
    "a virtual data set": lambda file: (
        put(file), file.create_virtual_dataset("a", h5py.VirtualLayout((3,), "f8")),
    ),
    "text": lambda file: put(file, data=["text"]),
    "records": lambda file: put(file, data=np.zeros(2, [("x", "f8"), ("y", "i4")])),
    "references": lambda file: put(file, data=file.ref, dtype=h5py.ref_dtype),
    "no array": lambda file: put(file),
    "no structure": lambda file: None,
    "an unknown kind": lambda file: put(file, '{"object": "os.system"}'),
    "two kinds": lambda file: put(file, '{"dict": {}, "tuple": []}'),
    "no JSON": lambda file: put(file, "{"),
    "depth": lambda file: put(file, "[" * 10**6),
    "depth that JSON allows": lambda file: put(file, '{"tuple": [' * 900 + "]}" * 900),
}  # fmt: skip


@pytest.mark.parametrize("what", CRAFTED)
def test_crafted_files_are_refused(what, path):
    """Their checksum is right, so that they were made on purpose."""
    refused(seal(path, CRAFTED[what]), "not a file that mne-invkit wrote")


def test_one_array_many_times_is_not_read_beyond_the_size_of_the_file(path):
    def fill(file):
        names = [f"a{k}" for k in range(100)]
        structure = ", ".join(f'{{"array": "{name}"}}' for name in names)
        put(file, f"[{structure}]", data=np.zeros(10**4))
        for name in names:
            file[name] = file["a"]

    refused(seal(path, fill), "not stored in one piece")


def test_other_bytes_with_a_right_checksum_are_refused(path):
    refused(seal_bytes(path, RNG.bytes(10**4)), "not a file that mne-invkit wrote")
