"""The network behind one call, run by torch or by onnxruntime."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from threadpoolctl import threadpool_limits

from mne_piunet.weights import Weights

Network = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Inputs (batch, N_INPUTS, n_voxels) in float32 and the places of the blocks that these voxels
fill to their moments and strengths (batch, 4, n_voxels)."""


def torch_network(weights: Weights):
    """Build the network of a model, in torch, ready to be used."""
    import torch

    from mne_piunet.net.unet import PatchUNet

    network = PatchUNet(**weights.card["network"])
    network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.tensors().items()})
    return network.eval().to(memory_format=torch.channels_last_3d)  # for speed


def with_torch(weights: Weights) -> Network:
    """Run the network by torch on the processor."""
    import torch

    network = torch_network(weights)

    def run(inputs, places):
        with torch.inference_mode():
            return network(torch.from_numpy(inputs), torch.from_numpy(places)).numpy()

    return run


def with_onnxruntime(weights: Weights) -> Network:
    """Run the network's ONNX twin by onnxruntime; torch is not needed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # batches run side by side
    session = onnxruntime.InferenceSession(
        weights.onnx, options, providers=["CPUExecutionProvider"]
    )

    def run(inputs, places):
        return session.run(None, {"inputs": inputs, "places": places})[0]

    return run


BACKENDS: dict[str, Callable[[Weights], Network]] = {
    "torch": with_torch,
    "onnxruntime": with_onnxruntime,
}
"""Backends by name, the faster one first."""


@lru_cache(maxsize=4)  # a prepared operator uses its network for every trial
def load_network(weights: Weights, backend: str = "auto") -> Network:
    """Load a network into a backend.

    Parameters
    ----------
    weights : Weights
        The model.
    backend : "auto" | "torch" | "onnxruntime"
        What runs it; "auto" takes the first that is installed.

    Returns
    -------
    network : callable
        From inputs to moments, see ``Network``.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend must be 'auto' or one of {list(BACKENDS)}, got {backend!r}.")
    installed = [name for name in BACKENDS if find_spec(name)]
    if backend == "auto" and installed:
        backend = installed[0]
    if backend not in installed:
        wanted = "torch nor onnxruntime" if backend == "auto" else backend
        raise ImportError(
            f"PIUNet cannot find {wanted}: pip install onnxruntime (small), or torch (faster)."
        )
    return BACKENDS[backend](weights)


@contextmanager
def side_by_side() -> Iterator[int]:
    """Let each thread compute alone, and tell how many to start.

    Batches are so small that a second thread hardly helps within one; two at the same time, each
    on a thread of its own, do better.

    Yields
    ------
    n_threads : int
        As many as torch would use if it is loaded, else the number of processors.
    """
    torch = sys.modules.get("torch")
    n_threads = torch.get_num_threads() if torch else os.cpu_count() or 1
    with threadpool_limits(1, user_api="blas"):
        try:
            if torch:
                torch.set_num_threads(1)
            yield n_threads
        finally:
            if torch:
                torch.set_num_threads(n_threads)
