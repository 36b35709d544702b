"""Bars show on a terminal, at the level at which results are told."""

import io

import mne
import pytest

from mne_invkit import _progress
from mne_invkit._progress import progress_bar


class Terminal(io.StringIO):
    """Keeps what it is shown."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "level", "shown"),
    [
        (Terminal, "INFO", True), (Terminal, "WARNING", False), (Terminal, "DEBUG", False),
        (io.StringIO, "INFO", False),
    ],
)  # fmt: skip
def test_where_bars_show(monkeypatch, stream, level, shown):
    monkeypatch.setattr(_progress, "_DELAY", 0)
    monkeypatch.setattr("sys.stderr", stream())
    with mne.use_log_level(level), progress_bar(3, "name", "step") as bar:
        bar.update(3)
        text = bar.fp.getvalue() if hasattr(bar, "fp") else ""
    assert ("name" in text) == shown


def test_what_is_over_soon_has_no_bar(monkeypatch):
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    with mne.use_log_level("INFO"), progress_bar(3, "name", "step") as bar:
        bar.update(3)
    assert "name" not in stream.getvalue()
