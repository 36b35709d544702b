"""A template head built from files that MNE and nilearn ship, without a download."""

from __future__ import annotations

from numbers import Real
from pathlib import Path

import mne
import numpy as np
from mne.utils import verbose, warn

from mne_invkit._mne import get_current_comp
from mne_invkit.heads.cache import cache_folder, cached
from mne_invkit.heads.electrodes import place_electrodes
from mne_invkit.heads.subject import HEMIS, SUBJECT, is_cortex, write_registration, write_subject
from mne_invkit.heads.surfaces import SHIPPED, radii

SPACINGS = (*(f"ico{k}" for k in range(6)), *(f"oct{k}" for k in range(1, 7)), "all")
"""Subsamplings of the template's surfaces."""
CONDUCTIVITY = (0.3, 0.006, 0.3)
"""Conductivities of brain, skull and scalp (S/m), in MNE's order."""

_MOST_MINDIST = 50.0  # mm, beyond which no location is left
_LAYOUT = 6  # version of the subject folder: increase it when its files change
_BEM, _SRC = f"{SUBJECT}-bem-sol.fif", f"{SUBJECT}-src.fif"  # each in a folder of the cache


# %% The subject folder


def template_subjects_dir() -> Path:
    """Folder to pass as ``subjects_dir`` for the template subject ``"fsaverage5"``.

    It holds a subject as FreeSurfer lays it out: white, pial, inflated and spherical surfaces,
    curvature, T1, BEM shells, and the annotation ``"dosenbach"``, in which each vertex of the
    cortex belongs to the nearest of the regions of Dosenbach et al. (2010). Its surface RAS is
    MNI305. The first call writes it to the cache, which takes about two seconds; so does a later
    one that finds a file damaged. The cache is the folder ``MNE_INVKIT_CACHE``, or else that of
    the system.

    The vertices of fsaverage5 are the first 10,242 of fsaverage. The folder also knows the
    registration of fsaverage, so that :func:`mne.compute_source_morph` brings estimates there.
    To morph from a subject of your own, put a link to the folder ``fsaverage5`` beside it.

    Returns
    -------
    subjects_dir : pathlib.Path
        The parent folder of the subject ``fsaverage5``.

    Examples
    --------
    >>> from mne_invkit import template_subjects_dir
    >>> brain = stc.plot(subjects_dir=template_subjects_dir())  # doctest: +SKIP
    """
    subjects_dir = cache_folder() / f"template-{_LAYOUT}"
    cached(subjects_dir / SUBJECT, write_subject)
    cached(subjects_dir / "fsaverage", write_registration)
    return subjects_dir


def template_trans() -> mne.transforms.Transform:
    """Transformation from the head frame to the MRI frame of the template.

    Returns
    -------
    trans : mne.transforms.Transform
        Head to MRI. The MRI frame is surface RAS, which for this subject is MNI305.
    """
    return mne.read_trans(SHIPPED / "fsaverage-trans.fif")


def template_fiducials() -> np.ndarray:
    """Left preauricular point, nasion and right preauricular point of the template.

    Returns
    -------
    fiducials : ndarray, shape (3, 3)
        A row for each point, in m, in the template's MRI frame.
    """
    points, _ = mne.io.read_fiducials(SHIPPED / "fsaverage-fiducials.fif", verbose="error")
    return np.array([point["r"] for point in points], float)


def template_surfaces() -> list[dict]:
    """Skin, outer skull and inner skull of the template, without the solution of the BEM.

    Returns
    -------
    surfs : list of dict
        Vertices ``rr`` (m, MRI frame) and triangles ``tris``, those of ``template_bem()["surfs"]``.
    """
    bem = template_subjects_dir() / SUBJECT / "bem"
    surfs = []
    for name in ("outer_skin", "outer_skull", "inner_skull"):
        rr, tris = mne.read_surface(bem / f"{name}.surf")
        rr = (rr / 1e3).astype(np.float32).astype(float)  # as files of the BEM store them
        surfs.append({"rr": rr, "tris": tris})
    return surfs


@verbose
def template_bem(
    conductivity: tuple[float, float, float] = CONDUCTIVITY, *, verbose=None
) -> mne.bem.ConductorModel:
    """Boundary-element model of the template head, with three shells.

    Parameters
    ----------
    conductivity : tuple of float
        Conductivities of brain, skull and scalp in S/m.
    %(verbose)s

    Returns
    -------
    bem : mne.bem.ConductorModel
        The solution, with 642 vertices per shell. It is cached for each conductivity.
    """
    if np.shape(conductivity) != (3,) or min(conductivity) <= 0:
        raise ValueError(
            "conductivity must be three positive numbers (brain, skull, scalp; S/m), "
            f"got {conductivity!r}."
        )
    subjects_dir = template_subjects_dir()
    tag = "-".join(str(float(c)) for c in conductivity)

    def build(made):
        model = mne.make_bem_model(
            SUBJECT, ico=None, conductivity=conductivity, subjects_dir=subjects_dir
        )
        mne.write_bem_solution(made / _BEM, mne.make_bem_solution(model))

    return mne.read_bem_solution(cached(subjects_dir / f"bem-{tag}", build) / _BEM)


def _without_medial_wall(src: mne.SourceSpaces, subjects_dir: Path) -> mne.SourceSpaces:
    """Leave out vertices without cortex: the white surface also closes over the brainstem."""
    for s, hemi in zip(src, HEMIS, strict=True):
        s["inuse"][~is_cortex(subjects_dir / SUBJECT, hemi)] = 0
        s["vertno"] = np.flatnonzero(s["inuse"])
        s["nuse"] = len(s["vertno"])
        s["use_tris"] = _triangles_in_use(s)
        s["nuse_tri"] = len(s["use_tris"])
    return src


def _triangles_in_use(s: dict) -> np.ndarray:
    """Triangles between locations, which tell MNE their neighbors.

    A location whose triangles all reach beyond the cortex keeps them as flat ones.
    """
    tris = s["tris"] if s["use_tris"] is None else s["use_tris"]  # none with spacing="all"
    used = s["inuse"][tris].astype(bool)
    whole = used.all(axis=1)
    edge = np.isin(tris, np.setdiff1d(s["vertno"], tris[whole])).any(axis=1)
    some = np.take_along_axis(tris[edge], used[edge].argmax(axis=1)[:, np.newaxis], axis=1)
    return np.concatenate([tris[whole], np.where(used[edge], tris[edge], some)])


@verbose
def template_source_space(
    src: str = "surface", *, spacing: str = "ico4", pos: float = 7.0, verbose=None
) -> mne.SourceSpaces:
    """Source space of the template head.

    Parameters
    ----------
    src : {"surface", "volume"}
        The white surfaces of the cortex, or a regular grid inside the skull.
    spacing : str
        Subsampling of the surfaces, as in :func:`mne.setup_source_space` (``"ico3"``: 1,216
        locations, ``"ico4"``: 4,857, ``"all"``: 19,424). Vertices of the medial wall, where
        there is no cortex, are left out.
    pos : float
        Distance between neighbors of the grid in mm.
    %(verbose)s

    Returns
    -------
    src : mne.SourceSpaces
        The source space in the MRI frame of the template.
    """
    if src not in ("surface", "volume"):
        raise ValueError(f'src must be "surface" or "volume", got {src!r}.')
    if src == "surface" and spacing not in SPACINGS:
        raise ValueError(f"spacing must be one of {', '.join(SPACINGS)}, got {spacing!r}.")
    if not isinstance(pos, Real) or not 0 < pos < np.inf:
        raise ValueError(f"pos must be a positive number of mm, got {pos!r}.")
    subjects_dir = template_subjects_dir()
    if src == "surface":
        name = f"src-{spacing}"

        def make():
            src = mne.setup_source_space(
                SUBJECT, spacing=spacing, subjects_dir=subjects_dir, add_dist=False
            )
            return _without_medial_wall(src, subjects_dir)
    else:
        name = f"src-volume-{float(pos)}"
        skull = subjects_dir / SUBJECT / "bem" / "inner_skull.surf"

        def make():
            return mne.setup_volume_source_space(
                SUBJECT, pos=pos, surface=skull, mindist=5.0,
                subjects_dir=subjects_dir,
            )  # fmt: skip

    folder = cached(subjects_dir / name, lambda made: make().save(made / _SRC))
    return mne.read_source_spaces(folder / _SRC)


# %% The forward solution


@verbose
def template_forward(
    info: mne.Info,
    src: str | mne.SourceSpaces = "surface",
    *,
    spacing: str = "ico4",
    pos: float = 7.0,
    conductivity: tuple[float, float, float] = CONDUCTIVITY,
    mindist: float = 3.0,
    verbose=None,
) -> mne.Forward:
    """Forward solution of the template head for any montage.

    Parameters
    ----------
    info : mne.Info
        Measurement info with EEG and/or MEG channels, positions in the head frame.
        Electrodes are moved radially onto the template's skin.
    src : {"surface", "volume"} | mne.SourceSpaces
        Kind of source space, as in :func:`template_source_space`, or your own source space in
        the template's MRI frame.
    spacing : str
        Subsampling of the surfaces.
    pos : float
        Distance between neighbors of a volume grid in mm.
    conductivity : tuple of float
        Conductivities of brain, skull and scalp in S/m.
    mindist : float
        Smallest distance of a location from the inner skull in mm.
    %(verbose)s

    Returns
    -------
    forward : mne.Forward
        Forward solution with free orientation.

    Examples
    --------
    >>> import mne
    >>> from mne_invkit import template_forward
    >>> montage = mne.channels.make_standard_montage("biosemi32")
    >>> info = mne.create_info(montage.ch_names, 256.0, "eeg").set_montage(montage)
    >>> forward = template_forward(info, spacing="ico3", verbose=False)
    >>> forward["nsource"]
    1216
    """
    if not isinstance(info, mne.Info):
        raise TypeError(f"info must be an mne.Info, got {type(info).__name__}: pass inst.info.")
    if not isinstance(mindist, Real) or not 0 <= mindist < _MOST_MINDIST:
        raise ValueError(
            f"mindist must be a number from 0 to {_MOST_MINDIST:g} mm, got {mindist!r}."
        )
    picks = mne.pick_types(info, meg=True, eeg=True, ref_meg=True, exclude=[])
    if not len(picks):
        raise ValueError(
            "info has no EEG or MEG channels: set their types with inst.set_channel_types."
        )
    bem, trans = template_bem(conductivity), template_trans()
    if isinstance(src, str):
        src = template_source_space(src, spacing=spacing, pos=pos)
    info = place_electrodes(mne.pick_info(info, picks), bem, trans)
    _check_outside(info, bem, trans)
    return mne.make_forward_solution(
        info, trans, src, bem, mindist=mindist, on_inside="ignore",
        ignore_ref=not get_current_comp(info),  # they serve compensation only; MNE refuses KIT's
    )  # fmt: skip


def _check_outside(
    info: mne.Info, bem: mne.bem.ConductorModel, trans: mne.transforms.Transform
) -> None:
    """Are MEG sensors outside of the template's head: tolerate those within its scalp."""
    picks = mne.pick_types(info, meg=True, exclude=[])
    if not len(picks):
        return
    places = np.array([info["chs"][k]["loc"][:3] for k in picks])
    if info["dev_head_t"] is not None:
        places = mne.transforms.apply_trans(info["dev_head_t"], places)
    origin = bem["surfs"][-1]["rr"].mean(axis=0)
    rays = mne.transforms.apply_trans(trans, places) - origin
    distance = np.linalg.norm(rays, axis=1)
    skin, skull = (
        radii(origin, rays / distance[:, np.newaxis], surface["rr"], surface["tris"])
        for surface in bem["surfs"][:2]
    )
    n_inside = np.sum(distance < skin)
    where = (
        f"{n_inside} of {len(picks)} MEG sensors lie inside the template's scalp, up to "
        f"{1e3 * np.max(skin - distance):.0f} mm deep: info['dev_head_t'] is wrong, or the head is "
        "smaller than the template. Check it with mne.viz.plot_alignment(info, "
        'template_trans(), "fsaverage5", template_subjects_dir()), and use the head\'s own MRI, or '
        "a template scaled with mne.scale_mri, in mne.make_forward_solution."
    )
    if np.any(distance < skull):
        raise ValueError(where)
    if n_inside:
        warn(f"{where} The forward solution takes them as they are.")
