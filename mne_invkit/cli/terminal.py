"""What a command says: streams that may close any time, warnings and errors in one line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class _Patient:
    """A stream that may fail: what comes after that is dropped, and the work goes on."""

    def __init__(self, stream):
        self._stream = stream
        self._fault: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop; what the stream has no code for is spelled out."""
        try:
            self._attempt(self._stream.write, text)
        except UnicodeEncodeError:
            code = self._stream.encoding
            known = text.encode(code, "backslashreplace").decode(code)
            self._attempt(self._stream.write, known)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        self._attempt(self._stream.flush)

    def finish(self) -> None:
        """Flush, and raise what went wrong, unless only the reader has left."""
        self.flush()
        if self._fault and not isinstance(self._fault, BrokenPipeError):
            raise self._fault

    def _attempt(self, do, *args) -> None:
        try:
            do(*args)
        except OSError as error:
            # what waits in the stream's own buffer would fail again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._fault = error

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextmanager
def patient_streams() -> Iterator[None]:
    """Let standard output and standard error close, before or during the work."""
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        sys.stdout, sys.stderr = (
            _Patient(stream or opened.enter_context(open(os.devnull, "w", encoding="utf-8")))
            for stream in before
        )
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def say(kind: str, what: object) -> None:
    """Say a warning or an error in one line on standard error, above a bar if there is one."""
    from tqdm import tqdm

    text = " ".join(str(what).split()) or type(what).__name__
    tqdm.write(f"mne-invkit: {kind}: {text}", file=sys.stderr)


@contextmanager
def short_warnings() -> Iterator[None]:
    """Show the sentence of a warning alone, without the line of code that gave it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say("warning", message)
        yield
