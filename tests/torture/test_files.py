"""Thousands of damaged files, and a hundred killed writers: nothing is lost, and nothing silent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended
pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("files.py")
SEED = int(os.environ.get("MNE_INVKIT_SEED", 0))
"""Another seed tries other damage."""


KILLED = {"killed", "lost", "left", "interrupted"}


def run(folder, *arguments):
    """Run the script in a process of its own, and return how often it ended in which way."""
    command = [sys.executable, SCRIPT, *map(str, arguments), folder]
    places = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | places)
    current = folder / "current"
    where = current.read_text() if current.is_file() else f"{arguments}"
    assert done.returncode == 0, f"{where}\n{done.stderr[-3000:]}"
    ends = json.loads(done.stdout.splitlines()[-1])
    print(f"{arguments}: {ends}")
    assert set(ends) <= {"refused", "the same", "differs", "read", *KILLED}
    return ends


@pytest.mark.parametrize(
    ("reader", "count"), [("inverse", 4000), ("kronbayes", 4000), ("operator", 1000)]
)
def test_damage_never_goes_unseen(reader, count, tmp_path):
    ends = run(tmp_path, "fuzz", reader, "plain", SEED, count)
    assert sum(ends.values()) == count
    assert ends["refused"] > 0.9 * count
    assert "differs" not in ends


@pytest.mark.parametrize(
    ("reader", "count"), [("inverse", 1000), ("kronbayes", 1000), ("operator", 100)]
)
def test_no_contents_crash_or_import(reader, count, tmp_path):
    """The checksum fits, as in files that were made on purpose."""
    ends = run(tmp_path, "fuzz", reader, "sealed", SEED, count)
    assert sum(ends.values()) == count
    assert ends["refused"] > 0.1 * count


@pytest.mark.parametrize("reader", ["evoked of format 1", "epochs of format 1"])
def test_the_first_format_never_crashes(reader, tmp_path):
    """It has no checksum, so that some damage goes unseen; a warning says so."""
    ends = run(tmp_path, "fuzz", reader, "plain", SEED, 25)
    assert sum(ends.values()) == 25
    assert ends["refused"] > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("writer", ["kill", "solve"])
def test_a_killed_writer_loses_nothing(writer, tmp_path):
    """Of ``result.save(overwrite=True)`` and of ``mne-invkit solve --overwrite``."""
    ends = run(tmp_path, writer, SEED, 100)
    assert ends["killed"] == 100
    assert ends["lost"] == 0
    assert ends["left"] == 0
    assert ends["interrupted"] > 0 or writer == "solve"  # which writes for a moment only
