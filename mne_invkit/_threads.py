"""One thread for linear algebra while many small products are computed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from threadpoolctl import ThreadpoolController


def set_torch_threads(n_threads: int) -> None:
    """Set the number of threads that torch uses for this thread, if torch is loaded."""
    if torch := sys.modules.get("torch"):
        torch.get_num_threads()  # or the first operation takes the number that was set last
        torch.set_num_threads(n_threads)


class _Alone:
    """Limits BLAS to one thread for some time, and restores the numbers of BLAS and torch.

    The limit holds for the whole process, and only the thread that set it can lift it. So of
    calls that overlap, the first one sets and lifts it; what is left of the others then runs on
    as many threads as BLAS likes. Torch has a number for each thread, but a new thread takes the
    number that any thread set last. So the workers set their own to 1, and every call restores
    the number from before the first one.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._n_calls = 0
        self._is_limited = False
        self._before = 1

    @contextmanager
    def hold(self) -> Iterator[int]:
        """Hold the limit, and yield the number of threads from before."""
        blas = ThreadpoolController().select(user_api="blas")
        with self._lock:
            if not self._n_calls:
                torch = sys.modules.get("torch")
                counts = [lib["num_threads"] for lib in blas.info()]
                self._before = torch.get_num_threads() if torch else max(counts, default=1)
            self._n_calls += 1
            before, sets_limit = self._before, not self._is_limited
            self._is_limited = True
            limit = blas.limit(limits=1) if sets_limit else nullcontext()
        try:
            yield before
        finally:
            with self._lock, limit:
                set_torch_threads(before)
                self._n_calls -= 1
                self._is_limited &= not sets_limit


_ALONE = _Alone()


def one_thread() -> AbstractContextManager[int]:
    """Hold BLAS at one thread in a context, and torch for the threads that ask for it.

    Returns
    -------
    context : context manager
        Gives the number of threads from before. All numbers are restored, also by calls that
        overlap.
    """
    return _ALONE.hold()
