"""Every private name and field of MNE that we use, and its codes of FIFF, each with the reason."""

from __future__ import annotations

import mne
import numpy as np
from mne._fiff.compensator import get_current_comp  # CTF: no public way to read the grade
from mne._fiff.proj import make_projector  # the matrix of a list of projectors
from mne.io.constants import FIFF

__all__ = [
    "COIL_TYPES",
    "SURFACES",
    "get_current_comp",
    "has_average_reference",
    "is_fixed",
    "is_from_mri",
    "is_in_head_frame",
    "make_projector",
    "original_gain",
    "set_gain",
    "share_original_gain",
    "surface_dict",
]

COIL_TYPES = dict(mag=FIFF.FIFFV_COIL_POINT_MAGNETOMETER, grad=FIFF.FIFFV_COIL_VV_PLANAR_T1)
"""Coil of a simulated sensor: no public function sets it."""

SURFACES = dict(
    outer_skin=FIFF.FIFFV_BEM_SURF_ID_HEAD,
    outer_skull=FIFF.FIFFV_BEM_SURF_ID_SKULL,
    inner_skull=FIFF.FIFFV_BEM_SURF_ID_BRAIN,
)
"""Identifiers of the shells of a head model, from the outside inwards, as MNE orders them."""


def surface_dict(name: str, rr: np.ndarray, tris: np.ndarray, conductivity: float) -> dict:
    """Surface of a head model that is in no file: MNE's public functions read files only."""
    return dict(
        rr=rr, tris=tris, np=len(rr), ntri=len(tris), id=SURFACES[name], sigma=conductivity,
        coord_frame=FIFF.FIFFV_COORD_MRI,
    )  # fmt: skip


def is_fixed(forward: mne.Forward) -> bool:
    """Whether a forward solution has one orientation at each location."""
    return forward["source_ori"] == FIFF.FIFFV_MNE_FIXED_ORI  # is_fixed_orient is not documented


def is_in_head_frame(thing) -> bool:
    """Whether a forward solution or source space is in the head frame: no attribute says it."""
    return thing["coord_frame"] == FIFF.FIFFV_COORD_HEAD


def is_from_mri(trans: mne.transforms.Transform) -> bool:
    """Whether a transformation starts at the MRI frame: no attribute says it."""
    return trans["from"] == FIFF.FIFFV_COORD_MRI


def has_average_reference(info: mne.Info) -> bool:
    """Whether the EEG has an average-reference projector: no public function looks for one."""
    return any(
        proj["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF
        or ("average" in proj["desc"].lower() and "eeg" in proj["desc"].lower())
        for proj in info["projs"]
    )


def original_gain(forward: mne.Forward) -> np.ndarray:
    """Gain of free orientations, from which MNE converts a forward solution to others."""
    return forward["_orig_sol"]


def set_gain(forward: mne.Forward, gain: np.ndarray) -> None:
    """Give a free forward solution another gain, also for later conversions of orientation."""
    forward["sol"]["data"], forward["_orig_sol"] = gain, gain.copy()


def share_original_gain(forward: mne.Forward, other: mne.Forward) -> None:
    """Let a forward solution use the original gain of another, which saves a copy of it."""
    forward["_orig_sol"] = other["_orig_sol"]
