"""Every private name and field of MNE that we use, and its codes of FIFF, each with the reason."""

from __future__ import annotations

import mne
import numpy as np
from mne._fiff.compensator import get_current_comp  # CTF: no public way to read the grade
from mne._fiff.proj import make_projector  # the matrix of a list of projectors
from mne.annotations import _annotations_starts_stops  # samples of annotated segments
from mne.io.constants import FIFF

__all__ = [
    "COIL_TYPES",
    "SURFACES",
    "bad_spans",
    "get_current_comp",
    "hide_ticks",
    "is_average_reference",
    "is_bipolar",
    "is_fixed",
    "is_from_mri",
    "is_in_device_frame",
    "is_in_head_frame",
    "is_right_hemisphere",
    "make_projector",
    "original_gain",
    "set_gain",
    "set_sfreq",
    "share_original_gain",
    "space_kind",
    "stc_parts",
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


def is_in_head_frame(thing: mne.Forward | dict) -> bool:
    """Whether a forward solution or source space is in the head frame: no attribute says it."""
    return thing["coord_frame"] == FIFF.FIFFV_COORD_HEAD


def is_right_hemisphere(space: dict) -> bool:
    """Whether a source space is the cortex of the right hemisphere: no attribute says it."""
    return space["id"] == FIFF.FIFFV_MNE_SURF_RIGHT_HEMI


def space_kind(src: mne.SourceSpaces) -> str:
    """Kind of a source space: "surface", "volume", "discrete" or "mixed".

    ``src.kind`` is "mixed" for a single hemisphere.
    """
    return "surface" if all(space["type"] == "surf" for space in src) else src.kind


def is_in_device_frame(ch: dict) -> bool:
    """Whether a sensor is placed in the frame of the MEG device: no attribute says it."""
    return ch["coord_frame"] == FIFF.FIFFV_COORD_DEVICE


def is_from_mri(trans: mne.transforms.Transform) -> bool:
    """Whether a transformation starts at the MRI frame: no attribute says it."""
    return trans["from"] == FIFF.FIFFV_COORD_MRI


def is_average_reference(proj: mne.Projection) -> bool:
    """Whether a projector is meant to be an average reference: no attribute says it."""
    return proj["kind"] == FIFF.FIFFV_PROJ_ITEM_EEG_AVREF


def is_bipolar(ch: dict) -> bool:
    """Whether a channel is the difference of two electrodes: only its coil type says it."""
    return ch["coil_type"] == FIFF.FIFFV_COIL_EEG_BIPOLAR


def bad_spans(raw: mne.io.BaseRaw) -> list[tuple[int, int]]:
    """Samples of the segments that annotations call bad; public functions read the data for it."""
    return list(zip(*_annotations_starts_stops(raw, ["bad"]), strict=True))


def hide_ticks(brain: mne.viz.Brain) -> None:
    """Hide the ticks of a Brain's color bar, which MNE puts beside it off screen."""
    ticks = getattr(brain, "_scalar_bar_ticks", None)  # not in all versions
    if ticks is not None:
        ticks.VisibilityOff()


def original_gain(forward: mne.Forward) -> np.ndarray:
    """Gain of free orientations, from which MNE converts a forward solution to others."""
    return forward["_orig_sol"]


def set_gain(forward: mne.Forward, gain: np.ndarray) -> None:
    """Give a free forward solution another gain, also for later conversions of orientation."""
    forward["sol"]["data"], forward["_orig_sol"] = gain, gain.copy()


def share_original_gain(forward: mne.Forward, other: mne.Forward) -> None:
    """Let a forward solution use the original gain of another, which saves a copy of it."""
    forward["_orig_sol"] = other["_orig_sol"]


def set_sfreq(info: mne.Info, sfreq: float) -> None:
    """Give an info its exact sampling frequency, of which its file keeps 24 bits."""
    with info._unlock():
        info["sfreq"] = sfreq


def stc_parts(stc: object) -> dict:
    """What an HDF5 file of an estimate holds: MNE writes it only by a library that may crash."""
    names = ("vertices", "data", "tmin", "tstep", "subject")
    return {name: getattr(stc, name) for name in names} | {"src_type": stc._src_type}
