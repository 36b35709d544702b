"""What tests run in processes of their own, which find it where they find the other helpers."""

from mne_invkit._files import write_whole


def write_once_both_are_ready(path, barrier, is_folder):
    """Write as a second process does the same, and put both into place at the same time."""
    with write_whole(path) as made:
        if is_folder:
            made.mkdir()
        (made / "whole" if is_folder else made).write_text("whole")
        barrier.wait(30)
