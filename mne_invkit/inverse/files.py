"""Prepared problems as plain arrays and strings, for HDF5 files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import mne
import numpy as np

from mne_invkit._docs import fill_doc
from mne_invkit.inverse.problem import InverseProblem

_FORWARD = ("source_rr", "source_nn", "nsource", "source_ori", "surf_ori", "coord_frame", "nchan")
_AS_THEY_ARE = (
    "data", "gain", "source_std", "whitener", "projector", "times", "nave", "settings",
)  # fmt: skip
_INSTANCES = dict(  # class, ending, how to save, how to read
    evoked=(
        mne.Evoked,
        "-ave.fif",
        {},
        partial(mne.read_evokeds, condition=0, proj=False, verbose="error"),
    ),
    epochs=(
        mne.BaseEpochs,
        "-epo.fif",
        {"fmt": "double"},
        partial(mne.read_epochs, proj=False, verbose="error"),
    ),
    raw=(
        mne.io.BaseRaw,
        "_raw.fif",
        {"fmt": "double"},
        partial(mne.io.read_raw_fif, preload=True, verbose="error"),
    ),
)


@fill_doc
def pack_problem(problem: InverseProblem) -> dict:
    """Take a problem apart.

    Parameters
    ----------
    %(problem)s

    Returns
    -------
    stored : dict
        Arrays as they are. MNE's objects are bytes of the files that MNE writes, with their data in
        double precision.
    """
    forward = problem.forward
    insts = []
    for inst in problem.insts:
        name = next(key for key, (kind, *_) in _INSTANCES.items() if isinstance(inst, kind))
        _, ending, options, _ = _INSTANCES[name]
        stored = {"kind": name, "fif": _to_bytes(inst.save, f"data{ending}", **options)}
        insts.append(stored | ({"data": inst.data} if name == "evoked" else {}))
    return {
        **{name: getattr(problem, name) for name in _AS_THEY_ARE},
        "info": _to_bytes(lambda path: mne.io.write_info(path, problem.info), "info.fif"),
        "src": _to_bytes(forward["src"].save, "forward-src.fif", verbose="error"),
        "forward": {name: forward[name] for name in _FORWARD},
        "field": forward["sol"]["data"],
        "mri_head_t": forward["mri_head_t"]["trans"],
        "insts": insts,
    }


def unpack_problem(stored: dict) -> InverseProblem:
    """Make the problem again that :func:`pack_problem` took apart.

    Parameters
    ----------
    stored : dict
        What :func:`pack_problem` returned.

    Returns
    -------
    problem : InverseProblem
        The problem.
    """
    info = _from_bytes(stored["info"], mne.io.read_info, "info.fif", verbose="error")
    names = info["ch_names"]
    forward = mne.Forward(
        **stored["forward"],
        src=_from_bytes(stored["src"], mne.read_source_spaces, "forward-src.fif", verbose="error"),
        sol={
            "data": stored["field"], "row_names": names, "col_names": [],
            "nrow": len(names), "ncol": stored["field"].shape[1],
        },
        sol_grad=None,
        info=info,
        mri_head_t=mne.transforms.Transform("mri", "head", stored["mri_head_t"]),
    )  # fmt: skip
    insts = []
    for item in stored["insts"]:
        _, ending, _, read = _INSTANCES[item["kind"]]
        inst = _from_bytes(item["fif"], read, f"data{ending}")
        if "data" in item:
            inst.data = item["data"]
        insts.append(inst)
    arrays = {name: stored[name] for name in _AS_THEY_ARE}
    return InverseProblem(forward=forward, info=info, insts=tuple(insts), **arrays)


def _to_bytes(save: Callable, name: str, **options) -> np.ndarray:
    """Contents of the file that a function writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        save(path, **options)
        return np.frombuffer(path.read_bytes(), np.uint8)


def _from_bytes(contents: np.ndarray, read: Callable, name: str, **options):
    """Object that a function reads from a file of these contents."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(contents.tobytes())
        return read(path, **options)
