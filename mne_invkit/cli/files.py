"""Files that commands read. Whatever is wrong with one, the error names it."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import mne
from mne.utils import warn

_Read = TypeVar("_Read")
_Data = TypeVar("_Data", mne.Evoked, mne.BaseEpochs, mne.io.BaseRaw)

_HELD = {
    "raw": "continuous data",
    "epochs": "epochs",
    "evoked": "averages",
    "forward": "a forward solution",
    "inverse": "an inverse operator",
    "src": "a source space",
    "bem solution": "a BEM solution",
    "bem surfaces": "BEM surfaces",
    "cov": "a covariance",
    "ica": "an ICA",
    "transform": "a transformation",
    "events": "events",
    "proj": "projectors",
}
"""What :func:`mne.what` finds in a file."""

_PARTS = {"transform": "trans", "events": "eve", "proj": "proj"}
"""What other files hold, too, so that a damaged one has it left: believed if the name says it."""

_ORDER = "pass the data, the forward solution and the noise covariance in this order."


def check_file(path: Path, *, folder: bool = False) -> None:
    """Raise unless a file can be opened.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    folder : bool
        Some formats are folders: allow one.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.is_dir() and not folder:
        raise IsADirectoryError(f"{path} is a folder: pass the file in it.")
    if not path.is_dir() and not path.is_file():
        raise OSError(f"{path} is a pipe or a device: save what it gives to a file, and pass that.")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} may not be read: ask its owner for the permission.")
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path} cannot be read: it is empty.")
    if path.suffix in (".h5", ".hdf5"):
        raise ValueError(
            f"{path} is an HDF5 file, from which MNE may run code: write what it holds as .fif, "
            "such as by mne.write_forward_solution."
        )
    if _is_fif(path):
        _check_chain(path)


def _check_chain(path: Path) -> None:
    """Raise if the entries of a FIF file point in a circle, which MNE would follow for ever."""
    seen, position = set(), 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            while position not in seen:
                seen.add(position)
                file.seek(position)
                header = file.read(16)
                if len(header) < 16:
                    return
                size, following = struct.unpack(">8xIi", header)
                if following < 0:
                    return
                position = following or position + len(header) + size
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: it is damaged ({error}).") from error
    raise ValueError(f"{path} cannot be read: it is damaged, its entries point in a circle.")


def read(reader: Callable[[Path], _Read], path: Path, wanted: str) -> _Read:
    """Read a file.

    Parameters
    ----------
    reader : callable
        Function that reads it.
    path : pathlib.Path
        The file.
    wanted : str
        What it should hold, a value of what :func:`mne.what` names.

    Returns
    -------
    found : object
        What the reader returns.
    """
    try:
        found = reader(path)
        for one in found if isinstance(found, list) else [found]:
            if hasattr(one, "get_channel_types"):
                one.get_channel_types()  # raises if a damaged file names types that do not exist
        return found
    except Exception as error:
        held, text = _what(path), str(error).rstrip(".") or type(error).__name__
        if held not in (None, wanted):
            raise ValueError(
                f"{path} holds {_HELD[held]}, not {_HELD[wanted]}: {_ORDER}"
            ) from error
        raise ValueError(
            f"{path} cannot be read: it is damaged, or does not hold {_HELD[wanted]} ({text})."
        ) from error


def read_forward(path: Path) -> mne.Forward:
    """Read a forward solution.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    forward : mne.Forward
        The forward solution.
    """
    return read(_read_forward, path, "forward")


def _read_forward(path: Path) -> mne.Forward:
    """Read a forward solution whose parts do not contradict each other."""
    forward = mne.read_forward_solution(path)
    counts = [(s["nuse"], len(s["vertno"])) for s in forward["src"]]
    if any(n != m for n, m in counts) or sum(n for n, _ in counts) != forward["nsource"]:
        raise ValueError("its numbers of sources differ")
    if not set(forward["sol"]["row_names"]) <= set(forward["info"]["ch_names"]):
        raise ValueError("its names of channels differ")
    forward["info"].get_channel_types()  # raises if a type does not exist
    return forward


def _what(path: Path) -> str | None:
    """Find what a FIF file holds, a key of the table above; None if nothing is found."""
    held = mne.what(path) if _is_fif(path) else None
    said = _PARTS.get(held) is None or f"{_PARTS[held]}.fif" in path.name
    return held if held in _HELD and said else None


def _is_fif(path: Path) -> bool:
    return path.is_file() and path.name.endswith((".fif", ".fif.gz"))


# %% Data


def read_data(
    path: Path, conditions: Sequence[str], tmin: float | None, tmax: float | None
) -> tuple[mne.Evoked | list[mne.Evoked] | mne.BaseEpochs | mne.io.BaseRaw, list[str]]:
    """Read averages, epochs or continuous data, and keep a window.

    Parameters
    ----------
    path : pathlib.Path
        The file: FIF, or any format of :func:`mne.io.read_raw`.
    conditions : sequence of str
        Names or, for averages, numbers of the conditions. Empty for the first average, or all
        epochs.
    tmin, tmax : float | None
        Window in s.

    Returns
    -------
    inst : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data.
    names : list of str
        For each estimate to come a name for its file; empty for a single one.
    """
    held = _what(path)
    if held == "evoked":
        evokeds = pick_averages(read(mne.read_evokeds, path, held), conditions, path)
        cropped = [crop(evoked, tmin, tmax) for evoked in evokeds]
        if len(cropped) == 1:
            return cropped[0], []
        return cropped, [evoked.comment or f"average{k}" for k, evoked in enumerate(cropped)]
    if held == "epochs":
        epochs = pick_epochs(read(mne.read_epochs, path, held), conditions, path)
        width = len(str(len(epochs) - 1))
        names = [f"epoch{k:0{width}d}" for k in range(len(epochs))]
        return crop(epochs, tmin, tmax), names if len(names) > 1 else []
    if held not in (None, "raw"):
        raise ValueError(
            f"{path} holds {_HELD[held]}, not averages, epochs or continuous data: {_ORDER}"
        )
    damaged = held is None and _is_fif(path) and "raw" not in path.name
    if damaged:
        read(mne.read_evokeds, path, "evoked")  # raises
    raw = read(mne.io.read_raw, path, "raw")
    if conditions:
        raise ValueError(f"{path} holds continuous data, without conditions: leave --condition.")
    part = crop(raw, tmin, tmax)
    return read(lambda _: part.load_data(), path, "raw"), []


def pick_averages(
    evokeds: Sequence[mne.Evoked], conditions: Sequence[str], path: Path
) -> list[mne.Evoked]:
    """Pick averages by name or by their number in the file.

    Parameters
    ----------
    evokeds : sequence of mne.Evoked
        All entries of the file, which may hold standard errors, too.
    conditions : sequence of str
        Names or numbers; the first average if empty.
    path : pathlib.Path
        The file, for errors.

    Returns
    -------
    picked : list of mne.Evoked
        The averages.
    """
    averages = {k: evoked for k, evoked in enumerate(evokeds) if evoked.kind == "average"}
    known = ", ".join(f"{evoked.comment!r} (number {k})" for k, evoked in averages.items())
    if not averages:
        raise ValueError(f"{path} holds no average, only standard errors.")
    picked = []
    for condition in conditions or [str(min(averages))]:
        found = [evoked for evoked in averages.values() if evoked.comment == condition]
        number = int(condition) if condition.isdecimal() else -1
        if not found and number in averages:
            found = [averages[number]]
        if not found and 0 <= number < len(evokeds):
            raise ValueError(
                f"Number {number} of {path} is a standard error, which has no sources: pass one of "
                f"its averages, {known}."
            )
        if len(found) != 1:
            fault = "several conditions" if found else "no condition"
            raise ValueError(f"{path} has {fault} {condition!r}: pass one of {known}.")
        picked += found
    if len({id(evoked) for evoked in picked}) < len(picked):
        raise ValueError(f"--condition names the same average of {path} twice.")
    return picked


def pick_epochs(epochs: mne.BaseEpochs, conditions: Sequence[str], path: Path) -> mne.BaseEpochs:
    """Pick good epochs by the names of their conditions.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        All epochs of the file.
    conditions : sequence of str
        Names; all if empty.
    path : pathlib.Path
        The file, for errors.

    Returns
    -------
    picked : mne.BaseEpochs
        The epochs.
    """
    try:
        picked = epochs[list(conditions)] if conditions else epochs
    except KeyError:
        raise ValueError(
            f"{path} has no condition {' or '.join(map(repr, conditions))}: pass one of "
            f"{', '.join(map(repr, epochs.event_id))}."
        ) from None
    picked = picked.drop_bad(verbose="error")
    if not len(picked):
        raise ValueError(f"{path} holds no epoch that is not marked as bad.")
    return picked


def crop(inst: _Data, tmin: float | None, tmax: float | None) -> _Data:
    """Keep a window of the data.

    Parameters
    ----------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data.
    tmin, tmax : float | None
        Start and end in s; None for those of the data.

    Returns
    -------
    inst : mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The window.
    """
    first, last = inst.times[0], inst.times[-1]
    start, end = (first if tmin is None else tmin), (last if tmax is None else tmax)
    near = 0.5 / inst.info["sfreq"]
    if not (start <= end and start <= last + near and end >= first - near):
        raise ValueError(
            f"The window (--tmin {start:g} --tmax {end:g}) holds no data, which span {first:g} to "
            f"{last:g} s: both must lie there, --tmin first."
        )
    if start < first - near or end > last + near:
        warn(f"The data span {first:g} to {last:g} s, less than the window: all there is is used.")
    start, end = max(start, first), min(end, last)
    if not ((inst.times >= start - near) & (inst.times <= end + near)).any():
        raise ValueError(
            f"There is no sample between {start:g} and {end:g} s: the data have one every "
            f"{1 / inst.info['sfreq']:g} s."
        )
    return inst.crop(start, max(start, end))
