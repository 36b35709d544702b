"""The network behind one call, run by torch or by onnxruntime, and the threads that it takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from joblib import effective_n_jobs

from mne_invkit._threads import one_thread, set_torch_threads
from mne_piunet._docs import fill_doc
from mne_piunet.files import check_file
from mne_piunet.kernel.inputs import MASK, N_INPUTS
from mne_piunet.weights import Weights

if TYPE_CHECKING:
    from mne_piunet.net.unet import UNet

# %% Backends


def torch_network(weights: Weights) -> UNet:
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
    tensors = {k: torch.from_numpy(v) for k, v in weights.tensors().items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"The weights in {weights.path} do not fit the network of their card: copy file and "
            "card together, or export the model again."
        ) from error
    return network.eval().to(memory_format=torch.channels_last_3d)  # for speed


def _run_by_torch(weights: Weights) -> Callable:
    import torch

    network = torch_network(weights)

    def run(inputs, places):
        with torch.inference_mode():
            return network(torch.from_numpy(inputs), torch.from_numpy(places)).numpy()

    return run


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime without its telemetry.

    From version 1.29 on, onnxruntime tells Microsoft of the computer and of the networks that it
    runs, unless ``ORT_DISABLE_TELEMETRY=1`` stands in the environment before it is imported. So it
    is set here, for this process and those that it starts. Set it to 0 yourself to allow that.

    Returns
    -------
    onnxruntime : module
        The package.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
        onnxruntime.disable_telemetry_events()  # older versions on Windows know this only
    return onnxruntime


def _run_by_onnxruntime(weights: Weights) -> Callable:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # batches run side by side
    check_file(
        weights.onnx, 'a model with its ONNX twin, or install torch and pass backend="torch"'
    )
    try:
        session = onnxruntime.InferenceSession(
            weights.onnx, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ValueError(
            f"{weights.onnx} cannot be read by onnxruntime ({error}): export the model again."
        ) from error

    def run(inputs, places):
        return session.run(None, {"inputs": inputs, "places": places})[0]

    side = weights.multiple // weights.block_side
    inputs = np.zeros((1, N_INPUTS, weights.multiple**3), np.float32)
    inputs[:, MASK] = 1
    if not np.isfinite(run(inputs, np.arange(side**3).reshape((side,) * 3))).all():
        raise ValueError(
            f"{weights.onnx} gives values that are infinite or not a number (NaN), which would "
            "make every estimate NaN: export the model again."
        )
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
        self.backend = find_backend(backend)
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


@fill_doc
def find_backend(backend: str) -> str:
    """Find a backend that is installed, or raise.

    Parameters
    ----------
    %(backend)s

    Returns
    -------
    name : "torch" | "onnxruntime"
        The backend.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend must be 'auto' or one of {list(BACKENDS)}, got {backend!r}.")
    for name in BACKENDS:
        if backend in ("auto", name) and is_installed(name):
            return name
    missing = "neither torch nor onnxruntime" if backend == "auto" else f"no {backend}"
    raise ImportError(
        f"PIUNet finds {missing}: pip install onnxruntime (small), or torch and safetensors "
        "(faster)."
    )


def is_installed(backend: str) -> bool:
    """Tell whether a backend is installed, with what it reads the weights by.

    Parameters
    ----------
    backend : str
        Its name, a key of :data:`BACKENDS`.

    Returns
    -------
    installed : bool
        Torch alone does not suffice: others install it without safetensors.
    """
    needs = ("torch", "safetensors") if backend == "torch" else (backend,)
    return all(find_spec(name) for name in needs)


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
    with one_thread() as before:
        n_threads = before if n_jobs is None else effective_n_jobs(n_jobs)
        with ThreadPoolExecutor(n_threads, initializer=set_torch_threads, initargs=(1,)) as pool:
            list(pool.map(function, items))


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
