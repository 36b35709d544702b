"""Files are written as a whole, or not at all."""

import pytest

pytest.importorskip("torch")

from subdistill.files import replacing


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
