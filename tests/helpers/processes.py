"""What tests run in processes of their own, and a disk that is soon full."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from mne_invkit._files import write_whole


def write_once_both_are_ready(path, barrier, is_folder):
    """Write as a second process does the same, and put both into place at the same time."""
    with write_whole(path) as made:
        if is_folder:
            made.mkdir()
        (made / "whole" if is_folder else made).write_text("whole")
        barrier.wait(30)


@contextmanager
def full_disk(folder):
    """Make a disk of 1 MB in a folder, where the system lets us, or skip the test."""
    folder.mkdir()
    make = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    may = shutil.which("mount") and os.geteuid() == 0
    if not may or subprocess.run(make, capture_output=True).returncode:
        pytest.skip("a small disk can be made by root alone, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
