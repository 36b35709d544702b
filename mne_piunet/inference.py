"""The network behind one call, run by torch or by onnxruntime, and the threads that it takes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

import numpy as np
from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

from mne_piunet._docs import fill_doc
from mne_piunet.weights import Weights

# %% Backends


def torch_network(weights: Weights):
    """Build the network of a model in torch, ready to be used.

    Parameters
    ----------
    weights : Weights
        The model.

    Returns
    -------
    network : mne_piunet.net.unet.UNet
        The network.
    """
    import torch

    from mne_piunet.net.unet import UNet

    network = UNet(**weights.card["network"])
    network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.tensors().items()})
    return network.eval().to(memory_format=torch.channels_last_3d)  # for speed


def _run_by_torch(weights: Weights) -> Callable:
    import torch

    network = torch_network(weights)

    def run(inputs, places):
        with torch.inference_mode():
            return network(torch.from_numpy(inputs), torch.from_numpy(places)).numpy()

    return run


def _run_by_onnxruntime(weights: Weights) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # batches run side by side
    session = onnxruntime.InferenceSession(
        weights.onnx, options, providers=["CPUExecutionProvider"]
    )

    def run(inputs, places):
        return session.run(None, {"inputs": inputs, "places": places})[0]

    return run


BACKENDS: dict[str, Callable[[Weights], Callable]] = {
    "torch": _run_by_torch,
    "onnxruntime": _run_by_onnxruntime,
}
"""Backends by name, the faster one first."""


@fill_doc
class Network:
    """The network of a model, run on the CPU by one of the backends.

    A pickled network holds the model's card and path alone, and loads the weights again when it
    is first called.

    Parameters
    ----------
    weights : Weights
        The model.
    %(backend)s

    Attributes
    ----------
    weights : Weights
        The model.
    backend : "torch" | "onnxruntime"
        Library that runs the network.
    """

    def __init__(self, weights: Weights, backend: str = "auto"):
        self.weights = weights
        self.backend = _installed(backend)
        self._run = BACKENDS[self.backend](weights)

    def __call__(self, inputs: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Run the network.

        Parameters
        ----------
        inputs : ndarray of float32, shape (batch, N_INPUTS, n_voxels)
            Inputs for the voxels of all blocks.
        places : ndarray of int, shape (n_x, n_y, n_z)
            Index of the block at each place, see :class:`mne_piunet.kernel.grid.Blocks`.

        Returns
        -------
        found : ndarray of float32, shape (batch, 4, n_voxels)
            Moments and strengths.
        """
        if self._run is None:
            self._run = BACKENDS[self.backend](self.weights)
        return self._run(inputs, places)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_run": None}


def _installed(backend: str) -> str:
    """Find a backend, or raise."""
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend must be 'auto' or one of {list(BACKENDS)}, got {backend!r}.")
    for name in BACKENDS:
        if backend in ("auto", name) and find_spec(name):
            return name
    missing = "neither torch nor onnxruntime" if backend == "auto" else f"no {backend}"
    raise ImportError(
        f"PIUNet finds {missing}: pip install onnxruntime (small), or torch (faster)."
    )


# %% Threads


@fill_doc
def run_side_by_side(function: Callable, items: Iterable, n_jobs: int | None = None) -> None:
    """Call a function on every item, in several threads that each compute alone.

    A batch is so small that a second thread hardly speeds it up. Two batches side by side, each
    in a thread of its own, are faster.

    Parameters
    ----------
    function : callable
        Function of one item.
    items : iterable
        The items.
    %(n_jobs)s
    """
    with _ALONE.hold() as before:
        n_threads = before if n_jobs is None else effective_n_jobs(n_jobs)
        with ThreadPoolExecutor(n_threads, initializer=_set_torch, initargs=(1,)) as pool:
            list(pool.map(function, items))


def _set_torch(n_threads: int) -> None:
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
                _set_torch(before)
                self._n_calls -= 1
                self._is_limited &= not sets_limit


_ALONE = _Alone()


def check_n_jobs(n_jobs: int | None) -> None:
    """Raise unless a number of threads has a meaning.

    Parameters
    ----------
    n_jobs : int | None
        Number of threads, as in joblib.
    """
    if n_jobs is not None and (not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0):
        raise ValueError(
            f"n_jobs must be None, a number of threads, or -1 for one for each CPU, got {n_jobs!r}."
        )
