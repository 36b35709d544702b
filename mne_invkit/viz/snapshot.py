"""Where the sources of an estimate are: its parts at one instant, its peak, its image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np
from mne.io.constants import FIFF
from mne.utils import verbose
from scipy.spatial import cKDTree

from mne_invkit.heads.template import SUBJECT, template_subjects_dir, template_trans

SPARSE = 50
"""The most active sources an estimate is called sparse for."""

_SURFACE = (mne.SourceEstimate, mne.VectorSourceEstimate)
_VOLUME = (mne.VolSourceEstimate, mne.VolVectorSourceEstimate)
_MIXED = (mne.MixedSourceEstimate, mne.MixedVectorSourceEstimate)
_REACH = 8.0  # mm, least reach of a source in a picture
_MARGIN = 16.0  # mm, of an image around its sources


class Peak(NamedTuple):
    """The largest magnitude of an estimate.

    Attributes
    ----------
    time : float
        Time in s.
    value : float
        Magnitude in the unit of the estimate.
    position : ndarray, shape (3,) | None
        Position in mm, MRI frame (surface RAS) of the subject; None for an estimate of zeros.
    hemi : {"lh", "rh"} | None
        The hemisphere of a source on the cortex.
    vertex : int | None
        The vertex of a source on the cortex.
    """

    time: float
    value: float
    position: np.ndarray | None = None
    hemi: str | None = None
    vertex: int | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The magnitudes of an estimate at one instant.

    Attributes
    ----------
    time : float
        Time in s.
    folder : pathlib.Path | None
        Folder of the FreeSurfer subject, if there is one.
    surface : mne.SourceEstimate | None
        The sources on the cortex.
    points : ndarray, shape (n_sources, 3) | None
        Positions of all sources in the volume in mm, MRI frame (surface RAS).
    values : ndarray, shape (n_sources,) | None
        Their magnitudes.
    """

    time: float
    folder: Path | None
    surface: mne.SourceEstimate | None = None
    points: np.ndarray | None = None
    values: np.ndarray | None = None

    @property
    def magnitudes(self) -> np.ndarray:
        """Magnitudes of all sources, shape (n_sources,)."""
        surface = [] if self.surface is None else self.surface.data[:, 0]
        return np.concatenate([surface, [] if self.values is None else self.values])

    def read_surface(self, hemi: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (n, 3) in mm and triangles (m, 3) of a surface of the subject."""
        if self.folder is None:
            raise ValueError(
                "Sources on the cortex need the folder of their subject: pass subject=... and "
                'subjects_dir=..., and for the template subject="fsaverage5" alone.'
            )
        rr, tris = mne.read_surface(self.folder / "surf" / f"{hemi}.{name}")
        vertices = self.surface.vertices[hemi == "rh"] if self.surface is not None else []
        if len(vertices) and vertices[-1] >= len(rr):
            raise ValueError(
                f"stc has the vertex {vertices[-1]}, but {hemi}.{name} of subject "
                f"{self.folder.name} ends at {len(rr) - 1}: pass the subject stc belongs to, "
                "or morph it with mne.compute_source_morph."
            )
        return rr, tris

    def peak(self) -> Peak:
        """Find the largest magnitude."""
        found = [Peak(self.time, 0.0)]
        if self.surface is not None:
            for k, (hemi, data) in enumerate(self._hemispheres()):
                if data.max(initial=0) > 0:
                    vertex = int(self.surface.vertices[k][data.argmax()])
                    position = self.read_surface(hemi, "white")[0][vertex]
                    found.append(Peak(self.time, float(data.max()), position, hemi, vertex))
        if self.points is not None and self.values.max(initial=0) > 0:
            k = self.values.argmax()
            found.append(Peak(self.time, float(self.values[k]), self.points[k]))
        return max(found, key=lambda peak: peak.value)

    def _hemispheres(self):
        return ("lh", self.surface.lh_data[:, 0]), ("rh", self.surface.rh_data[:, 0])

    def on_surface(self, hemi: str, name: str) -> np.ndarray:
        """Magnitudes at every vertex of a surface of the subject, shape (n_vertices,)."""
        rr, _ = self.read_surface(hemi, name)
        return _spread(rr[self.surface.vertices[hemi == "rh"]], dict(self._hemispheres())[hemi], rr)

    def image(self, voxel_size: float = 4.0):
        """Magnitudes in the volume as a nibabel image in the MRI frame (mm)."""
        import nibabel

        first = np.floor((self.points.min(axis=0) - _MARGIN) / voxel_size)
        last = np.ceil((self.points.max(axis=0) + _MARGIN) / voxel_size)
        affine = np.diag([voxel_size] * 3 + [1.0])
        affine[:3, 3] = first * voxel_size
        shape = (last - first).astype(int) + 1
        voxels = np.indices(shape).reshape(3, -1).T * voxel_size + affine[:3, 3]
        values = _spread(self.points, self.values, voxels).reshape(shape)
        return nibabel.Nifti1Image(values.astype(np.float32), affine)


def _spread(points: np.ndarray, values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Carry values from points to targets nearby, shape (n_targets,).

    The weights are those of Franke and Nielson (1980): a source keeps its value at its own
    place and fades within its reach, one and a half times the usual distance between
    sources. A sparse few are spots of their own.
    """
    out = np.zeros(len(targets))
    active = values > 0
    if not active.any():
        return out
    reach = _REACH
    if active.sum() <= SPARSE:
        points, values = points[active], values[active]
    else:
        reach = max(reach, 1.5 * np.median(cKDTree(points).query(points, 2)[0][:, 1]))
    distance, index = cKDTree(points).query(targets, 8, distance_upper_bound=reach)
    near = np.isfinite(distance[:, 0])
    distance, index = distance[near], index[near]
    weights = (np.maximum(reach - distance, 0) / (distance + 1e-3)) ** 2
    mean = (weights * np.append(values, 0)[index]).sum(axis=1) / weights.sum(axis=1)
    out[near] = mean * (1 - (distance[:, 0] / reach) ** 4)
    return out


def take_snapshot(
    stc, src=None, *, time=None, subject=None, subjects_dir=None, trans=None
) -> Snapshot:
    """Take the magnitudes of an estimate at one instant, with the positions of its sources.

    Parameters
    ----------
    stc : mne.SourceEstimate | mne.VolSourceEstimate | mne.MixedSourceEstimate
        The estimate, of any of the six classes of MNE.
    src : mne.SourceSpaces | None
        Source space of the estimate, such as ``forward["src"]``; needed for sources in a
        volume.
    time : float | None
        Time in s; None for the time of the maximum.
    subject : str | None
        Subject, by default that of the estimate or of its source space.
    subjects_dir : path-like | None
        Folder of the subjects, by default the template's or ``SUBJECTS_DIR``.
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI for a source space in the head frame, such as
        ``forward["mri_head_t"]``.

    Returns
    -------
    snapshot : Snapshot
        The magnitudes at that time.
    """
    if not isinstance(stc, _SURFACE + _VOLUME + _MIXED):
        raise TypeError(f"stc must be a source estimate of MNE, got {type(stc).__name__}.")
    folder = _subject_folder(subject or stc.subject or _subject_of(src), subjects_dir)
    scalar = stc.magnitude() if stc.data.ndim == 3 else stc
    magnitude = np.abs(scalar.data)
    if not np.isfinite(magnitude).all():
        raise ValueError("stc holds values that are not finite; check the data it came from.")
    k = _time_index(stc, magnitude, time)
    now = type(scalar)(
        magnitude[:, [k]], stc.vertices, stc.times[k], stc.tstep, subject=stc.subject
    )
    time = float(stc.times[k])
    if isinstance(now, _SURFACE):
        return Snapshot(time, folder, now)
    surface, volume = (now.surface(), now.volume()) if isinstance(now, _MIXED) else (None, now)
    return Snapshot(time, folder, surface, *_locate(volume, src, folder, trans))


def _time_index(stc, magnitude, time) -> int:
    """Index of a time, by default of the largest magnitude."""
    if time is None:
        return int(magnitude.max(axis=0, initial=0).argmax())
    k = int(np.abs(stc.times - time).argmin())
    if abs(stc.times[k] - time) > stc.tstep:
        raise ValueError(
            f"time={time:g} s lies outside of stc, which spans {stc.times[0]:g} to "
            f"{stc.times[-1]:g} s; leave time=None for the time of its maximum."
        )
    return k


def _subject_of(src) -> str | None:
    """Subject of a source space, if it says."""
    return src[0].get("subject_his_id") if src else None


def _subject_folder(subject, subjects_dir) -> Path | None:
    """Folder of a subject, None when there is none."""
    if subject == SUBJECT and subjects_dir is None:
        subjects_dir = template_subjects_dir()
    subjects_dir = mne.utils.get_subjects_dir(subjects_dir)
    if not subject or subjects_dir is None:
        return None
    folder = Path(subjects_dir) / subject
    return folder if folder.is_dir() else None


def _locate(volume, src, folder, trans) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) of all volume sources in mm, MRI frame, and their magnitudes (n,)."""
    if src is None:
        raise ValueError(
            "Sources in a volume have no position without their source space: pass "
            'src=forward["src"].'
        )
    src = src[-len(volume.vertices) :]  # in a mixed source space, the cortex comes first
    values = [np.zeros(s["nuse"]) for s in src]
    data = np.split(volume.data[:, 0], np.cumsum([len(v) for v in volume.vertices])[:-1])
    for s, full, vertices, some in zip(src, values, volume.vertices, data, strict=True):
        if not np.isin(vertices, s["vertno"]).all():
            raise ValueError(
                "stc has vertices that src has not: pass the source space of the forward "
                'solution stc was made with, src=forward["src"].'
            )
        full[np.searchsorted(s["vertno"], vertices)] = some
    points = np.concatenate([s["rr"][s["vertno"]] for s in src])
    if src[0]["coord_frame"] == FIFF.FIFFV_COORD_HEAD:
        points = mne.transforms.apply_trans(_head_to_mri(trans, folder), points)
    return 1e3 * points, np.concatenate(values)


def _head_to_mri(trans, folder) -> mne.transforms.Transform:
    """Return the transformation from the head to the MRI frame, by default the template's."""
    if trans is None and folder is not None and folder.name == SUBJECT:
        return template_trans()
    if trans is None:
        raise ValueError(
            "src is in the head frame: pass the transformation between head and MRI too, "
            'trans=forward["mri_head_t"].'
        )
    if not isinstance(trans, mne.transforms.Transform):
        trans = mne.read_trans(trans)
    if trans["from"] == FIFF.FIFFV_COORD_MRI:
        return mne.transforms.invert_transform(trans)
    return trans


@verbose
def estimate_to_nifti(
    stc,
    src,
    *,
    time=None,
    subject=None,
    subjects_dir=None,
    trans=None,
    voxel_size=4.0,
    verbose=None,
):
    """Turn the volume sources of an estimate into an image.

    Parameters
    ----------
    stc : mne.VolSourceEstimate | mne.MixedSourceEstimate
        The estimate, scalar or vector. Of a mixed one, the volume part is taken.
    src : mne.SourceSpaces
        Its source space, such as ``forward["src"]``. Only the positions of its sources
        count, so one read back from a file will do.
    time : float | None
        Time in s; None for the time of the maximum.
    subject : str | None
        Subject, by default that of the estimate or of its source space.
    subjects_dir : path-like | None
        Folder of the subjects, by default the template's or ``SUBJECTS_DIR``.
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI, as in :func:`take_snapshot`.
    voxel_size : float
        Size of a voxel in mm.
    %(verbose)s

    Returns
    -------
    image : nibabel.nifti1.Nifti1Image
        Magnitudes in the unit of the estimate, in the MRI frame (surface RAS) of the
        subject. Values between sources are interpolated from those nearby.

    Examples
    --------
    >>> from mne_invkit import estimate_to_nifti
    >>> estimate_to_nifti(stc, forward["src"]).to_filename("stc.nii.gz")  # doctest: +SKIP
    """
    snapshot = take_snapshot(
        stc, src, time=time, subject=subject, subjects_dir=subjects_dir, trans=trans
    )
    if snapshot.points is None:
        raise TypeError(
            f"A {type(stc).__name__} has no sources in a volume; draw it with plot_estimate(stc)."
        )
    return snapshot.image(voxel_size)
