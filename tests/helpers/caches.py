"""What tests of the cache run in processes of their own."""

from mne_invkit.heads.cache import cached


def cache_once_both_are_ready(folder, barrier):
    """Fill a folder of the cache as a second process does the same."""

    def build(made):
        (made / "whole").write_text("whole")
        barrier.wait(30)

    cached(folder, build)
