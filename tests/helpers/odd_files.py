"""Files and disks that programs seldom meet."""

import os
from contextlib import contextmanager

import pytest


def make_pipe(path):
    """Make a pipe, from which a program that opens it waits for ever."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes")
    os.mkfifo(path)


@contextmanager
def full_disk(n_bytes=4_000):
    """Let no file grow beyond some bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
