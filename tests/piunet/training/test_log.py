"""Logs are whole files at any time."""

import pytest

from mne_piunet.training.log import Log, read_table


def test_a_resumed_log_drops_what_the_run_repeats(tmp_path):
    path = tmp_path / "log.csv"
    log = Log(path, ["step", "loss"], 0)
    for step in (1, 2, 3):
        log.add(step, 1 / step)
    assert path.read_text().splitlines() == ["step,loss", "1,1", "2,0.5", "3,0.33333"]
    Log(path, ["step", "loss"], 2).add(4, 0.25)
    assert path.read_text().splitlines() == ["step,loss", "1,1", "2,0.5", "4,0.25"]


def test_a_row_is_written_whole_or_not_at_all(tmp_path):
    log = Log(tmp_path / "log.csv", ["step", "loss"], 0)
    log.add(1, 2.0)

    class Broken:
        def __str__(self):
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        log.add(2, Broken())
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,loss", "1,2"]


@pytest.mark.parametrize("text", ["", "step,loss\n1", "step,loss\n1,x", "step,loss\n1,nan"])
def test_a_damaged_table_is_named_and_stays(text, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    for read in (read_table, lambda path: Log(path, ["step", "loss"], 0)):
        with pytest.raises(ValueError, match=r"log.csv is damaged .*restore it from a copy, or"):
            read(path)
    assert path.read_text() == text


def test_a_table_of_something_else_stays(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("name\n3\n")
    with pytest.raises(ValueError, match=r"log.csv has the columns \['name'\], not \['step'"):
        Log(path, ["step", "loss"], 0)
    assert path.read_text() == "name\n3\n"
