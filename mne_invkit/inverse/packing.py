"""Data and source spaces of MNE as arrays and plain values, and back.

MNE's own files have a largest size, above which they are split, and keep most numbers in single
precision. So only the measurement info goes through such a file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import mne
import numpy as np

from mne_invkit._mne import set_sfreq

_Read = TypeVar("_Read")

Instance = mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw

_LEFT_OUT = ("interpolator", "dist", "dist_limit")
"""What takes most of the room and can be made again: from a volume to the voxels of the MRI, and
the distances along the cortex."""


def pack_instance(inst: Instance, names: list[str]) -> dict:
    """Take data apart.

    Parameters
    ----------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data. Those on disk are read.
    names : list of str
        The channels to keep.

    Returns
    -------
    parts : dict
        What :func:`unpack_instance` takes.
    """
    kind = next(name for name, (instance, *_) in _KINDS.items() if isinstance(inst, instance))
    _, pack, _ = _KINDS[kind]
    index = {name: k for k, name in enumerate(inst.ch_names)}
    info = mne.pick_info(inst.info, [index[name] for name in names])
    data = inst.get_data(picks=names)
    return {"kind": kind, "info": pack_info(info), "data": data, **pack(inst)}


def unpack_instance(parts: dict) -> Instance:
    """Make the data again that :func:`pack_instance` took apart.

    Parameters
    ----------
    parts : dict
        What :func:`pack_instance` returned.

    Returns
    -------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data, in memory.
    """
    _, _, unpack = _KINDS[parts["kind"]]
    return unpack(parts["data"], unpack_info(parts["info"]), parts)


# %% Three kinds of data


def _pack_evoked(evoked: mne.Evoked) -> dict:
    names = ("comment", "nave", "baseline")
    return {"tmin": evoked.times[0], "aspect": evoked.kind} | {k: getattr(evoked, k) for k in names}


def _unpack_evoked(data: np.ndarray, info: mne.Info, parts: dict) -> mne.Evoked:
    evoked = mne.EvokedArray(
        data, info, parts["tmin"], parts["comment"], parts["nave"], parts["aspect"], verbose="error"
    )
    return _finish(evoked, parts)


def _pack_epochs(epochs: mne.BaseEpochs) -> dict:
    names = ("tmin", "events", "event_id", "selection", "drop_log", "baseline")
    return {name: getattr(epochs, name) for name in names} | {"metadata": _columns(epochs.metadata)}


def _unpack_epochs(data: np.ndarray, info: mne.Info, parts: dict) -> mne.BaseEpochs:
    names = ("tmin", "events", "event_id", "selection", "drop_log")
    metadata = parts["metadata"]
    if metadata is not None:
        import pandas as pd

        metadata = pd.DataFrame(metadata)
    epochs = mne.EpochsArray(
        data, info, on_missing="ignore", baseline=None, proj=False, metadata=metadata,
        verbose="error", **{name: parts[name] for name in names},
    )  # fmt: skip
    return _finish(epochs, parts)


def _finish(inst: mne.Evoked | mne.BaseEpochs, parts: dict) -> mne.Evoked | mne.BaseEpochs:
    """Give data the times and the baseline that they had; MNE puts the first sample on a grid."""
    inst.baseline = parts["baseline"]
    return inst if inst.times[0] == parts["tmin"] else inst.shift_time(parts["tmin"], False)


def _columns(metadata) -> dict | None:
    """Columns of a data frame, what is no plain value as text."""
    if metadata is None:
        return None
    return {
        str(name): [v if isinstance(v, bool | int | float | str) else str(v) for v in column]
        for name, column in metadata.to_dict("list").items()
    }


def _pack_raw(raw: mne.io.BaseRaw) -> dict:
    notes = raw.annotations
    return {
        "first_samp": raw.first_samp,
        "annotations": {
            "onset": notes.onset,
            "duration": notes.duration,
            "description": [str(text) for text in notes.description],
            "orig_time": notes.orig_time and notes.orig_time.isoformat(),
            "ch_names": [tuple(names) for names in notes.ch_names],
        },
    }


def _unpack_raw(data: np.ndarray, info: mne.Info, parts: dict) -> mne.io.BaseRaw:
    raw = mne.io.RawArray(data, info, first_samp=parts["first_samp"], verbose="error")
    stored = parts["annotations"]
    when = stored["orig_time"] and datetime.fromisoformat(stored["orig_time"])
    start = 0.0 if when else parts["first_samp"] / info["sfreq"]  # where MNE counts from
    notes = mne.Annotations(**stored | {"onset": stored["onset"] - start, "orig_time": when})
    raw.set_annotations(notes, emit_warning=False, on_missing="ignore", verbose="error")
    if len(raw.annotations) == len(stored["onset"]):
        raw.annotations.onset[:] = stored["onset"]  # which MNE has rounded twice
    return raw


_KINDS: dict[str, tuple[type, Callable, Callable]] = {
    "evoked": (mne.Evoked, _pack_evoked, _unpack_evoked),
    "epochs": (mne.BaseEpochs, _pack_epochs, _unpack_epochs),
    "raw": (mne.io.BaseRaw, _pack_raw, _unpack_raw),
}


# %% Measurement info


def pack_info(info: mne.Info) -> dict:
    """Take a measurement info apart, with what its file keeps in single precision only.

    Parameters
    ----------
    info : mne.Info
        The info.

    Returns
    -------
    parts : dict
        What :func:`unpack_info` takes.
    """
    plain = info.copy()  # MNE writes no names of other letters than those of English
    for k, proj in enumerate(plain["projs"]):  # copies of MNE share the names
        data = {**proj["data"], "col_names": list(proj["data"]["col_names"])}
        plain["projs"][k] = mne.Projection(**{**proj, "data": data})
    mne.rename_channels(plain, {name: f"{k}" for k, name in enumerate(info["ch_names"])})
    return {
        "fif": to_fif(lambda path: mne.io.write_info(path, plain, verbose="error"), "info.fif"),
        "ch_names": info["ch_names"],
        "sfreq": info["sfreq"],
        "loc": np.array([ch["loc"] for ch in info["chs"]]),
        "projs": [proj["data"]["data"] for proj in info["projs"]],
    }


def unpack_info(parts: dict) -> mne.Info:
    """Make the measurement info again that :func:`pack_info` took apart.

    Parameters
    ----------
    parts : dict
        What :func:`pack_info` returned.

    Returns
    -------
    info : mne.Info
        The info.
    """
    info = from_fif(parts["fif"], mne.io.read_info, "info.fif")
    mne.rename_channels(info, dict(zip(info["ch_names"], parts["ch_names"], strict=True)))
    set_sfreq(info, parts["sfreq"])
    for channel, loc in zip(info["chs"], parts["loc"], strict=True):
        channel["loc"] = loc
    for proj, data in zip(info["projs"], parts["projs"], strict=True):
        proj["data"]["data"] = data
    return info


def to_fif(save: Callable, name: str) -> bytes:
    """Contents of the file that a function writes.

    Parameters
    ----------
    save : callable
        Function of a path.
    name : str
        Name of the file, of which MNE expects certain endings.

    Returns
    -------
    contents : bytes
        The contents.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        save(path)
        return path.read_bytes()


def from_fif(contents: bytes, read: Callable[[Path], _Read], name: str) -> _Read:
    """Object that a function reads from a file of these contents.

    Parameters
    ----------
    contents : bytes
        The contents.
    read : callable
        Function of a path, with the argument `verbose`.
    name : str
        Name of the file, of which MNE expects certain endings.

    Returns
    -------
    thing : object
        What `read` returns.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(contents)
        return read(path, verbose="error")


# %% Source spaces


def pack_source_spaces(src: mne.SourceSpaces) -> list[dict]:
    """Take source spaces apart.

    Parameters
    ----------
    src : mne.SourceSpaces
        The source spaces.

    Returns
    -------
    parts : list of dict
        What :func:`unpack_source_spaces` takes.
    """
    return [
        {name: _pack(value) for name, value in space.items() if name not in _LEFT_OUT}
        for space in src
    ]


def unpack_source_spaces(parts: list[dict]) -> mne.SourceSpaces:
    """Make the source spaces again that :func:`pack_source_spaces` took apart.

    Parameters
    ----------
    parts : list of dict
        What :func:`pack_source_spaces` returned.

    Returns
    -------
    src : mne.SourceSpaces
        The source spaces, without distances along the cortex
        (:func:`mne.add_source_space_distances`) and without the interpolation to the voxels of an
        MRI.
    """
    return mne.SourceSpaces(
        [
            {name: _unpack(value) for name, value in space.items()}
            | {"dist": None, "dist_limit": None}
            for space in parts
        ]
    )


def _pack(value):
    """Plain values; transformations and lists of arrays become dicts."""
    if isinstance(value, mne.transforms.Transform):
        return {"from": value["from"], "to": value["to"], "trans": value["trans"]}
    if isinstance(value, list) and value and all(isinstance(v, np.ndarray) for v in value):
        return {"lengths": np.array([len(v) for v in value]), "values": np.concatenate(value)}
    return value


def _unpack(value):
    if not isinstance(value, dict):
        return value
    if "trans" in value:
        return mne.transforms.Transform(value["from"], value["to"], value["trans"])
    return np.split(value["values"], np.cumsum(value["lengths"])[:-1])
