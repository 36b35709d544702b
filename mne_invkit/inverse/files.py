"""Prepared problems, and what is made of them, in HDF5 files."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import h5io
import h5py
import mne
import numpy as np

from mne_invkit._docs import fill_doc
from mne_invkit._files import check_new, write_bytes
from mne_invkit._hdf5 import check_is_file, is_numeric, read_plain, write_plain
from mne_invkit._mne import stc_parts
from mne_invkit.inverse.format1 import KIND, SIGNATURE, read_first
from mne_invkit.inverse.packing import (
    pack_info,
    pack_instance,
    pack_source_spaces,
    unpack_info,
    unpack_instance,
    unpack_source_spaces,
)
from mne_invkit.inverse.problem import InverseProblem

if TYPE_CHECKING:
    from mne_invkit.inverse.stc import Estimate

_Made = TypeVar("_Made")

_FORWARD = ("source_rr", "source_nn", "nsource", "source_ori", "surf_ori", "coord_frame", "nchan")
_AS_THEY_ARE = ("data", "gain", "source_std", "whitener", "projector", "times", "nave")
_PLAIN = bool | int | float | str | None | np.bool_ | np.integer | np.floating


def check_name(fname: str | Path, overwrite: bool) -> None:
    """Raise if a result or an operator may not be written to a file.

    Parameters
    ----------
    fname : path-like
        File name, which ends with ``.h5``.
    overwrite : bool
        Replace a file that exists.
    """
    if Path(fname).suffix not in (".h5", ".hdf5"):
        raise ValueError(f"The file name must end with .h5, got {Path(fname).name}.")
    check_new(fname, overwrite)


def read_parts(fname: str | Path) -> tuple[str, dict]:
    """Read the parts of a result or an operator.

    Parameters
    ----------
    fname : path-like
        File name.

    Returns
    -------
    kind : str
        What the parts belong to.
    parts : dict
        The parts: nested plain values and arrays.
    """
    path = check_is_file(fname)
    with path.open("rb") as opened:
        is_first = opened.read(len(SIGNATURE)) == SIGNATURE
    return (KIND, read_first(path)) if is_first else read_plain(path)


def unpack(fname: str | Path, make: Callable[[dict], _Made], parts: dict) -> _Made:
    """Make a result or an operator of its parts; the error names the file if they are others.

    Parameters
    ----------
    fname : path-like
        File name.
    make : callable
        Function of `parts`.
    parts : dict
        The parts.

    Returns
    -------
    made : object
        What `make` returns.
    """
    try:
        return make(parts)
    except Exception as error:
        raise ValueError(f"{fname} holds other parts than expected: {error!r}") from error


def save_stc(stc: Estimate, fname: str | Path) -> None:
    """Save an estimate whole or not at all, as ``stc.save(fname, ftype="h5")`` does.

    MNE writes to the disk by a library that crashes the process where it is full.

    Parameters
    ----------
    stc : source estimate
        Any of the six classes of MNE.
    fname : path-like
        File name, which ends with ``.h5``. A file there is replaced.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        h5io.write_hdf5(file, stc_parts(stc), title="mnepython")
    write_bytes(fname, memory.getbuffer())


# %% What can be saved


class Saved:
    """What can be saved: a dataclass, most often of a problem and of plain values.

    Attributes
    ----------
    file_kind : str
        What the files hold; for results, the name of the solver whose `result` is the class. A
        subclass without one cannot be saved.
    """

    file_kind: ClassVar[str] = ""

    def save(self, fname: str | Path, *, overwrite: bool = False) -> None:
        """Save to an HDF5 file, for :func:`mne_invkit.read_result`, or the reader of its package.

        Parameters
        ----------
        fname : path-like
            File name, which ends with ``.h5``.
        overwrite : bool
            Replace a file that exists.

        Notes
        -----
        The file is whole or not there at all, and its checksum shows any damage. It holds the data,
        also those that were on disk. Of the source spaces it leaves out the distances along the
        cortex and the interpolation to the voxels of an MRI: where MNE asks for one of them
        (``mri_resolution=True``), pass the source space of your forward solution.
        """
        check_name(fname, overwrite)
        kind = vars(type(self)).get("file_kind")
        if not kind:
            raise TypeError(
                f"A {type(self).__name__} cannot be saved: give the class a `file_kind`, the name "
                "of its solver, and pass the class to mne_invkit.Solver(..., result=...)."
            )
        write_plain(fname, kind, self.pack())

    def pack(self) -> dict:
        """Take it apart.

        Returns
        -------
        parts : dict
            Nested plain values and arrays, which :meth:`unpack` takes.
        """
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        settings = pack_settings(self.settings)
        return parts | {"problem": pack_problem(self.problem), "settings": settings}

    @classmethod
    def unpack(cls, parts: dict) -> Self:
        """Make again what :meth:`pack` took apart.

        Parameters
        ----------
        parts : dict
            What :meth:`pack` returned.

        Returns
        -------
        result : Saved
            The same as before.
        """
        return cls(**parts | {"problem": unpack_problem(parts["problem"])})


# %% Problems


@fill_doc
def pack_problem(problem: InverseProblem) -> dict:
    """Take a problem apart.

    Parameters
    ----------
    %(problem)s

    Returns
    -------
    parts : dict
        Arrays and plain values. Data on disk are read.
    """
    forward = problem.forward
    names = problem.info["ch_names"]
    return {
        **{name: getattr(problem, name) for name in _AS_THEY_ARE},
        "settings": pack_settings(problem.settings),
        "info": pack_info(problem.info),
        "src": pack_source_spaces(forward["src"]),
        "forward": {name: forward[name] for name in _FORWARD},
        "field": forward["sol"]["data"],
        "mri_head_t": forward["mri_head_t"]["trans"],
        "insts": [pack_instance(inst, names) for inst in problem.insts],
    }


def unpack_problem(parts: dict) -> InverseProblem:
    """Make the problem again that :func:`pack_problem` took apart.

    Parameters
    ----------
    parts : dict
        What :func:`pack_problem` returned.

    Returns
    -------
    problem : InverseProblem
        The problem.
    """
    info = unpack_info(parts["info"])
    names = info["ch_names"]
    forward = mne.Forward(
        **parts["forward"],
        src=unpack_source_spaces(parts["src"]),
        sol={
            "data": parts["field"], "row_names": names, "col_names": [],
            "nrow": len(names), "ncol": parts["field"].shape[1],
        },
        sol_grad=None,
        info=info,
        mri_head_t=mne.transforms.Transform("mri", "head", parts["mri_head_t"]),
    )  # fmt: skip
    return InverseProblem(
        **{name: parts[name] for name in _AS_THEY_ARE},
        settings=parts["settings"],
        forward=forward,
        info=info,
        insts=tuple(unpack_instance(inst) for inst in parts["insts"]),
    )


def pack_settings(settings: dict) -> dict:
    """Settings as plain values: a class or a function by its name, any other object as text.

    Parameters
    ----------
    settings : dict
        Arguments of a solver.

    Returns
    -------
    parts : dict
        The plain values.
    """
    return {str(name): _plain(value) for name, value in settings.items()}


def _plain(value):
    """Plain values for an argument of a solver."""
    if isinstance(value, dict):
        return pack_settings(value)
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, np.ndarray) and is_numeric(value):
        return value
    if value is None or isinstance(
        value, bool | int | float | str | np.bool_ | np.integer | np.floating
    ):
        return value
    return getattr(value, "__name__", repr(value))
