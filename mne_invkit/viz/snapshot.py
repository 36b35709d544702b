"""An estimate at one time: magnitudes and their positions, the peak, and an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import mne
import numpy as np
from mne.utils import verbose
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mne_invkit._docs import fill_doc
from mne_invkit._mne import is_from_mri, is_in_head_frame
from mne_invkit.heads.template import SUBJECT, template_subjects_dir, template_trans
from mne_invkit.inverse.stc import Estimate, dense_data, kind_of, source_positions

if TYPE_CHECKING:
    import nibabel

SPARSE = 50
"""Largest number of sources of an estimate that is called sparse."""

_REACH = 8.0  # mm, smallest distance over which the value of a location fades
_MARGIN = 16.0  # mm, around the locations of an image
_TALAIRACH = Path("mri") / "transforms" / "talairach.xfm"


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
        Hemisphere, if the peak is on the cortex.
    vertex : int | None
        Vertex, if the peak is on the cortex.
    mni : ndarray, shape (3,) | None
        Position in mm, MNI305, where the subject's transformation is known.
    row : int | None
        Which of the locations.
    """

    time: float
    value: float
    position: np.ndarray | None = None
    hemi: str | None = None
    vertex: int | None = None
    mni: np.ndarray | None = None
    row: int | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The magnitudes of an estimate at one time.

    Attributes
    ----------
    time : float
        Time in s: the sample of the estimate that is nearest to the time asked for, or that of
        the maximum.
    folder : pathlib.Path | None
        Folder of the FreeSurfer subject, if there is one.
    surface : mne.SourceEstimate | None
        The part of the estimate on the cortex.
    points : ndarray, shape (n_locations, 3) | None
        Positions of all locations in the volume in mm, MRI frame (surface RAS).
    values : ndarray, shape (n_locations,) | None
        Magnitudes at these points.
    """

    time: float
    folder: Path | None
    surface: mne.SourceEstimate | None = None
    points: np.ndarray | None = None
    values: np.ndarray | None = None

    @property
    def magnitudes(self) -> np.ndarray:
        """Magnitudes on the cortex and in the volume, shape (n_locations,)."""
        surface = [] if self.surface is None else self.surface.data[:, 0]
        return np.concatenate([surface, [] if self.values is None else self.values])

    @property
    def has_t1(self) -> bool:
        """Whether the subject has an MRI."""
        return self.folder is not None and (self.folder / "mri" / "T1.mgz").is_file()

    @cached_property
    def to_mni(self) -> np.ndarray | None:
        """From the MRI frame to MNI305 (mm), shape (4, 4); None if the subject's is not known."""
        if self.folder is None or not (self.folder / _TALAIRACH).is_file():
            return None
        try:
            affine = mne.read_talxfm(self.folder.name, self.folder.parent)["trans"].copy()
        except OSError:  # without an MRI its origin is not known
            return None
        affine[:3, 3] *= 1e3
        return affine

    def read_surface(self, hemi: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (n, 3) in mm and triangles (m, 3) of a surface of the subject."""
        if self.folder is None:
            raise ValueError(
                "Drawing on the cortex needs the folder of the subject: pass subject=... and "
                'subjects_dir=..., or only subject="fsaverage5" for the template.'
            )
        rr, tris = mne.read_surface(self.folder / "surf" / f"{hemi}.{name}")
        vertices = self.surface.vertices[hemi == "rh"] if self.surface is not None else []
        if len(vertices) and vertices[-1] >= len(rr):
            raise ValueError(
                f"stc has the vertex {vertices[-1]}, but {hemi}.{name} of subject "
                f"{self.folder.name} ends at {len(rr) - 1}: pass the subject of stc, or morph "
                "stc with mne.compute_source_morph."
            )
        return rr, tris

    @cached_property
    def positions(self) -> np.ndarray:
        """Positions of all locations in mm, MRI frame, shape (n_locations, 3)."""
        found = [np.zeros((0, 3))]
        for hemi, vertices in zip(("lh", "rh"), self._vertices, strict=True):
            if len(vertices):
                found.append(self.read_surface(hemi, "white")[0][vertices])
        if self.points is not None:
            found.append(self.points)
        return np.concatenate(found)

    def peaks(self, n_peaks: int, apart: float = 20.0) -> list[Peak]:
        """Find the largest magnitudes that are some distance (mm) apart, the largest first."""
        left, found = self.magnitudes, []
        ends = np.cumsum([len(v) for v in self._vertices])
        while len(found) < n_peaks and left.max(initial=0) > 0:
            k = int(left.argmax())
            position, hemi, vertex = self.positions[k], None, None
            if k < ends[1]:
                vertex = int(np.concatenate(self._vertices)[k])
                hemi = "lh" if k < ends[0] else "rh"
            mni = None if self.to_mni is None else mne.transforms.apply_trans(self.to_mni, position)
            found.append(Peak(self.time, float(left[k]), position, hemi, vertex, mni, k))
            left[np.linalg.norm(self.positions - position, axis=1) < apart] = 0
            left[k] = 0
        return found

    def peak(self) -> Peak:
        """Find the largest magnitude."""
        return (self.peaks(1) or [Peak(self.time, 0.0)])[0]

    @property
    def _vertices(self) -> list[np.ndarray]:
        """Vertices on the cortex, of the left and of the right hemisphere."""
        return [np.zeros(0, int)] * 2 if self.surface is None else self.surface.vertices

    def on_surface(self, hemi: str, name: str) -> np.ndarray:
        """Magnitudes at every vertex of a surface of the subject, shape (n_vertices,)."""
        values = self.surface.rh_data if hemi == "rh" else self.surface.lh_data
        return self.surface_weights(hemi, name, values[:, 0] > 0) @ values[:, 0]

    def surface_weights(self, hemi: str, name: str, active: np.ndarray) -> csr_array:
        """Weights that bring values of a hemisphere's locations to all vertices of a surface.

        Parameters
        ----------
        hemi, name : str
            Hemisphere and surface.
        active : ndarray of bool, shape (n_locations,)
            Locations that are not silent.

        Returns
        -------
        weights : scipy.sparse.csr_array, shape (n_vertices, n_locations)
            The weights.
        """
        rr, _ = self.read_surface(hemi, name)
        return _weights(rr[self.surface.vertices[hemi == "rh"]], active, rr)

    def image(self, voxel_size: float = 4.0) -> nibabel.Nifti1Image:
        """Magnitudes in the volume as a nibabel image in the MRI frame (mm)."""
        import nibabel

        first = np.floor((self.points.min(axis=0) - _MARGIN) / voxel_size)
        last = np.ceil((self.points.max(axis=0) + _MARGIN) / voxel_size)
        affine = np.diag([voxel_size] * 3 + [1.0])
        affine[:3, 3] = first * voxel_size
        shape = (last - first).astype(int) + 1
        voxels = np.indices(shape).reshape(3, -1).T * voxel_size + affine[:3, 3]
        weights = _weights(self.points, self.values > 0, voxels)
        values = (weights @ self.values).reshape(shape)
        return nibabel.Nifti1Image(values.astype(np.float32), affine)


def _weights(points: np.ndarray, active: np.ndarray, targets: np.ndarray) -> csr_array:
    """Weights to interpolate from points to nearby targets, shape (n_targets, n_points).

    The weights are those of Franke and Nielson (1980). A value is kept at its own point and fades
    with distance, to zero at 1.5 times the median distance between neighbors. The sources of a
    sparse estimate are spots of their own.
    """
    chosen, reach = np.arange(len(points)), _REACH
    if active.sum() <= SPARSE:
        chosen = np.flatnonzero(active)
    else:
        reach = max(reach, 1.5 * np.median(cKDTree(points).query(points, 2)[0][:, 1]))
    shape = len(targets), len(points)
    if not active.any():
        return csr_array(shape)
    distance, index = cKDTree(points[chosen]).query(targets, 8, distance_upper_bound=reach)
    near = np.isfinite(distance[:, 0])
    distance, index = distance[near], index[near]
    weights = (np.maximum(reach - distance, 0) / (distance + 1e-3)) ** 2
    weights *= ((1 - (distance[:, 0] / reach) ** 4) / weights.sum(axis=1))[:, np.newaxis]
    found = np.isfinite(distance)
    rows = np.broadcast_to(np.flatnonzero(near)[:, np.newaxis], found.shape)[found]
    return csr_array((weights[found], (rows, chosen[index[found]])), shape=shape)


@fill_doc
def take_snapshot(
    stc: Estimate,
    src: mne.SourceSpaces | None = None,
    *,
    time: float | None = None,
    subject: str | None = None,
    subjects_dir: str | Path | None = None,
    trans: mne.transforms.Transform | str | Path | None = None,
) -> Snapshot:
    """Take the magnitudes of an estimate at one time, with their positions.

    Parameters
    ----------
    %(stc_at_time)s
    %(subject_of_stc)s
    %(trans_of_src)s

    Returns
    -------
    snapshot : Snapshot
        The magnitudes at that time.
    """
    kind = kind_of(stc)
    folder = _subject_folder(subject or stc.subject or _subject_of(src), subjects_dir)
    scalar = stc.magnitude() if stc.data.ndim == 3 else stc
    magnitude = np.abs(scalar.data)
    if not np.isfinite(magnitude).all():
        raise ValueError("stc has values that are not finite: check the data it comes from.")
    k = _time_index(stc, magnitude, time)
    now = type(scalar)(
        magnitude[:, [k]], stc.vertices, stc.times[k], stc.tstep, subject=stc.subject
    )
    time = float(stc.times[k])
    if kind == "surface":
        return Snapshot(time, folder, now)
    surface, volume = (now.surface(), now.volume()) if kind == "mixed" else (None, now)
    return Snapshot(time, folder, surface, *_locate(volume, src, folder, trans))


def _time_index(stc, magnitude, time) -> int:
    """Index of a time, by default that of the largest magnitude."""
    if time is None:
        return int(magnitude.max(axis=0, initial=0).argmax())
    if not isinstance(time, Real) or not np.isfinite(time):
        raise ValueError(f"time must be a number (s) or None, got {time!r}.")
    k = int(np.abs(stc.times - time).argmin())
    if abs(stc.times[k] - time) > (0.5 + 1e-6) * stc.tstep:
        raise ValueError(
            f"time={time:g} s lies outside of stc, which spans {stc.times[0]:g} to "
            f"{stc.times[-1]:g} s: leave time=None for the time of its maximum."
        )
    return k


def _subject_of(src) -> str | None:
    """Subject of a source space, if it has one."""
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
    """Positions (n, 3) of all locations in the volume in mm, MRI frame, and magnitudes (n,)."""
    if src is None:
        raise ValueError(
            "An estimate in a volume has no positions without its source space: pass "
            'src=forward["src"].'
        )
    src = src[-len(volume.vertices) :]  # in a mixed source space, the cortex comes first
    points = source_positions(src)
    if is_in_head_frame(src[0]):
        points = mne.transforms.apply_trans(_head_to_mri(trans, folder), points)
    return 1e3 * points, dense_data(volume, src)[:, 0]


def _head_to_mri(trans, folder) -> mne.transforms.Transform:
    """Transformation from the head to the MRI frame, by default that of the template."""
    if trans is None and folder is not None and folder.name == SUBJECT:
        return template_trans()
    if trans is None:
        raise ValueError(
            "src is in the head frame: pass the transformation between head and MRI, "
            'trans=forward["mri_head_t"].'
        )
    if not isinstance(trans, mne.transforms.Transform):
        trans = mne.read_trans(trans)
    return mne.transforms.invert_transform(trans) if is_from_mri(trans) else trans


@verbose
@fill_doc
def estimate_to_nifti(
    stc: Estimate,
    src: mne.SourceSpaces,
    *,
    time: float | None = None,
    subject: str | None = None,
    subjects_dir: str | Path | None = None,
    trans: mne.transforms.Transform | str | Path | None = None,
    voxel_size: float = 4.0,
    verbose=None,
) -> nibabel.Nifti1Image:
    """Turn an estimate in a volume into an image.

    Parameters
    ----------
    stc : mne.VolSourceEstimate | mne.MixedSourceEstimate
        The estimate, scalar or vector. Of a mixed one, the volume is taken.
    src : mne.SourceSpaces
        Its source space, such as ``forward["src"]`` or one read from a file.
    %(time)s
    %(subject_of_stc)s
    %(trans_of_src)s
    voxel_size : float
        Size of a voxel in mm.
    %(verbose)s

    Returns
    -------
    image : nibabel.nifti1.Nifti1Image
        Magnitudes in the unit of the estimate, in the MRI frame (surface RAS) of the
        subject. Values between locations are interpolated.

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
            f"A {type(stc).__name__} has no part in a volume: draw it with plot_estimate(stc)."
        )
    return snapshot.image(voxel_size)
