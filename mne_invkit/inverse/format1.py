"""Files of the first format, which h5io wrote: fits of kronbayes, without a checksum."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import mne
import numpy as np
from mne.utils import warn

from mne_invkit._hdf5 import read_array, read_plain, write_plain
from mne_invkit.inverse.packing import from_fif, pack_info, pack_instance, pack_source_spaces

KIND = "kronbayes"
"""What the files of the first format hold."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of a file of the first format."""

_ROOT = "mne_kronbayes"
_MANY = 5000  # nodes
_DEEPEST = 16  # groups within groups
_LONGEST = 120  # s that reading may take
_LONGEST_TEXT = 2**20  # bytes, which gzip may have compressed
_VALUES: dict[str, Callable] = {
    "ndarray": lambda stored: stored,
    "None": lambda stored: None,
    "unicode": lambda stored: stored.tobytes().decode(),
    **dict.fromkeys(
        ("int", "float", "np_int64", "np_int32", "np_float32", "np_bool"),
        lambda stored: stored.item(),
    ),
}
_INSTANCES = {
    "evoked": ("data-ave.fif", partial(mne.read_evokeds, condition=0, proj=False)),
    "epochs": ("data-epo.fif", partial(mne.read_epochs, proj=False)),
    "raw": ("data_raw.fif", partial(mne.io.read_raw_fif, preload=True)),
}


def read_first(path: Path) -> dict:
    """Read a fit of the first format, in a process of its own.

    Where a file without a checksum is damaged, the HDF5 library may crash or never come to an end.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    parts : dict
        The parts of a fit, as a file of today has them.
    """
    with TemporaryDirectory() as folder:
        made = Path(folder) / "parts.h5"
        command = [sys.executable, "-m", __name__, path.absolute(), made]
        places = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST, env=os.environ | places
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"{path} is damaged: it cannot be read in {_LONGEST} s.") from None
        if not made.is_file():
            reason = (run.stderr.strip().splitlines() or ["it is damaged"])[-1]
            raise ValueError(f"{path} is not a file that mne-invkit wrote: {reason}")
        _, parts = read_plain(made)
    warn(
        f"{path} was written by an early version and has no checksum, so damage may go unseen: "
        "write it again with result.save(fname, overwrite=True)."
    )
    return parts


def _convert(path: Path) -> dict:
    """Parts of a fit, as a file of today has them."""
    with h5py.File(path, "r") as file:
        if _ROOT not in file:
            raise ValueError(
                "it holds no result. mne.read_source_estimate reads estimates (-stc.h5)"
            )
        parts = _Nodes(path.stat().st_size).read(file, _ROOT)
    problem, learned = parts["problem"], parts["learned"]
    info = from_fif(problem["info"].tobytes(), mne.io.read_info, "info.fif")
    src = from_fif(problem["src"].tobytes(), mne.read_source_spaces, "forward-src.fif")
    problem |= {"info": pack_info(info), "src": pack_source_spaces(src)}
    problem["insts"] = [_read_instance(**stored) for stored in problem["insts"]]
    learned["posterior"]["kind"] = parts.pop("posterior")
    learned["converged"] = bool(learned["converged"])
    return parts


class _Nodes:
    """Reads groups and arrays by the names of their types, and not more than the file holds."""

    def __init__(self, n_bytes: int):
        self._left = n_bytes
        self._n_nodes = 0

    def read(self, group: h5py.Group, name: str, depth: int = 0):
        """Read what stands under a name."""
        self._n_nodes += 1
        if depth > _DEEPEST or self._n_nodes > _MANY:
            raise ValueError("its groups lead to each other without end")
        if group.get(name, getlink=True, getclass=True) is not h5py.HardLink:
            raise ValueError(f"{name!r} lies elsewhere")
        node = group[name]
        title = node.attrs["TITLE"]
        if isinstance(node, h5py.Dataset):
            return _VALUES[title](self._array(group, name, title))
        if title == "dict":
            return {key[4:]: self.read(node, key, depth + 1) for key in node}
        if title != "list" and title != "tuple":
            raise ValueError(f"{name!r} is of the unknown type {title!r}")
        items = [self.read(node, f"idx_{k}", depth + 1) for k in range(len(node))]
        return items if title == "list" else tuple(items)

    def _array(self, group: h5py.Group, name: str, title: str) -> np.ndarray:
        if title == "unicode" and group[name].nbytes < _LONGEST_TEXT:
            return group[name][()]
        array = read_array(group, name, self._left)
        self._left -= array.nbytes
        return array


def _read_instance(kind: str, fif: np.ndarray, data: np.ndarray | None = None) -> dict:
    """Parts of an Evoked, Epochs or Raw, which was stored as the file that MNE writes."""
    name, read = _INSTANCES[kind]
    inst = from_fif(fif.tobytes(), read, name)
    if data is not None:
        inst.data = data
    return pack_instance(inst, inst.ch_names)


if __name__ == "__main__":
    write_plain(sys.argv[2], KIND, _convert(Path(sys.argv[1])))
