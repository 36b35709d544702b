"""A template head built from files that MNE and nilearn ship, with no download."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import mne
import numpy as np
from mne.utils import logger, verbose
from scipy.spatial import ConvexHull

SUBJECT = "fsaverage5"
CONDUCTIVITY = (0.3, 0.006, 0.3)
"""Scalp, skull and brain conductivities (S/m) in MNE's own order: brain, skull, scalp."""

_SHIPPED = Path(mne.__file__).parent / "data" / "fsaverage"
_LAYOUT = 1  # raise when the files of the subject folder change
_MNI305_TO_MNI152 = np.array(  # FreeSurfer wiki, "CoordinateSystems", section 8
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
_HEMIS = {"lh": "left", "rh": "right"}
_MAX_GAP = 0.025  # m, inner skull to skin; the shipped skin reaches into the neck
_MIN_GAP = 0.008  # m
_SKULL_SHARE = 0.5  # of the gap between inner skull and skin


# %% Geometry


def _icosphere(n_subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit icosphere: vertices (n, 3) and outward triangles (m, 3)."""
    golden = (1 + np.sqrt(5)) / 2
    one = np.array([[0, s, t * golden] for s in (-1, 1) for t in (-1, 1)])
    rr = np.concatenate([np.roll(one, k, axis=1) for k in range(3)])
    for _ in range(n_subdivisions):
        tris = ConvexHull(rr).simplices
        edges = np.unique(np.sort(tris[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)), axis=0)
        rr = np.concatenate([rr, rr[edges].mean(axis=1)])
        rr /= np.linalg.norm(rr, axis=1, keepdims=True)
    rr = rr / np.linalg.norm(rr, axis=1, keepdims=True)
    tris = ConvexHull(rr).simplices
    inward = np.linalg.det(rr[tris]) < 0
    tris[inward] = tris[inward][:, ::-1]
    return rr, tris


def _radii(origin: np.ndarray, directions: np.ndarray, rr: np.ndarray, tris: np.ndarray):
    """Distance from `origin` to the outermost crossing of a surface along each direction.

    Every ray is tested against every triangle (Moller & Trumbore 1997):
    O(n_directions x n_triangles).
    """
    a, b, c = (rr[tris[:, k]] - origin for k in range(3))
    ab, ac = b - a, c - a
    a_x_ab = np.cross(a, ab)
    out = np.empty(len(directions))
    for k, direction in enumerate(directions):
        normal = np.cross(direction, ac)
        det = np.einsum("ij,ij->i", ab, normal)
        det[det == 0] = np.nan
        u = -np.einsum("ij,ij->i", a, normal) / det
        v = -(a_x_ab @ direction) / det
        distance = -np.einsum("ij,ij->i", ac, a_x_ab) / det
        hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (distance > 0)
        if not hit.any():
            raise RuntimeError(f"No surface in the direction {direction} of {origin}.")
        out[k] = distance[hit].max()
    return out


def _shells() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Closed nested shells in the MRI frame (m): inner skull, outer skull, outer skin.

    The three share the directions of one icosphere around the centroid of the inner skull.
    The skull is the inner half of the gap between brain and skin, and the gap is bounded,
    which cuts the neck and the jaw off the shipped skin.
    """
    inner = mne.read_bem_surfaces(_SHIPPED / "fsaverage-inner_skull-bem.fif", verbose="error")[0]
    skin = mne.read_bem_surfaces(_SHIPPED / "fsaverage-head.fif", verbose="error")[0]
    origin = inner["rr"].mean(axis=0)
    directions, tris = _icosphere(3)
    r_inner = _radii(origin, directions, inner["rr"], inner["tris"])
    r_skin = _radii(origin, directions, skin["rr"], skin["tris"])
    gap = np.clip(r_skin - r_inner, _MIN_GAP, _MAX_GAP)
    radii = dict(
        inner_skull=r_inner, outer_skull=r_inner + _SKULL_SHARE * gap, outer_skin=r_inner + gap
    )
    return {name: (origin + r[:, None] * directions, tris) for name, r in radii.items()}


# %% The subject folder


def _write_subject(folder: Path) -> None:
    """Write surfaces, morphometry and shells of the template as a FreeSurfer subject."""
    import nibabel
    from nilearn import datasets

    surf, bem = folder / "surf", folder / "bem"
    surf.mkdir(parents=True)
    bem.mkdir()
    fsaverage = datasets.fetch_surf_fsaverage(SUBJECT)
    meshes = dict(white="white", pial="pial", inflated="infl", sphere="sphere")
    maps = dict(curv="curv", sulc="sulc", area="area", thickness="thick")
    for hemi, side in _HEMIS.items():
        for name, key in meshes.items():
            rr, tris = (a.data for a in nibabel.load(fsaverage[f"{key}_{side}"]).darrays)
            mne.write_surface(surf / f"{hemi}.{name}", rr, tris)
        shutil.copy(surf / f"{hemi}.sphere", surf / f"{hemi}.sphere.reg")
        for name, key in maps.items():
            values = nibabel.load(fsaverage[f"{key}_{side}"]).darrays[0].data
            nibabel.freesurfer.write_morph_data(surf / f"{hemi}.{name}", values)
    _write_mri(folder / "mri" / "T1.mgz")
    for name, (rr, tris) in _shells().items():
        mne.write_surface(bem / f"{name}.surf", rr * 1e3, tris)
    fiducials, frame = mne.io.read_fiducials(_SHIPPED / "fsaverage-fiducials.fif", verbose="error")
    mne.io.write_fiducials(bem / f"{SUBJECT}-fiducials.fif", fiducials, frame, verbose="error")


def _write_mri(path: Path) -> None:
    """Write the MNI152 image that nilearn bundles on the grid of fsaverage (256^3, 1 mm)."""
    import nibabel
    from nilearn import datasets, image

    path.parent.mkdir()
    template = datasets.load_mni152_template(resolution=1)
    template = image.new_img_like(
        template, template.get_fdata(), affine=np.linalg.inv(_MNI305_TO_MNI152) @ template.affine
    )
    grid = np.array([[-1, 0, 0, 128], [0, 0, 1, -128], [0, -1, 0, 128], [0, 0, 0, 1.0]])
    conformed = image.resample_img(template, grid, target_shape=(256,) * 3, interpolation="linear")
    values = conformed.get_fdata()
    values = np.round(255 * values / values.max()).clip(0, 255).astype(np.uint8)
    nibabel.save(nibabel.MGHImage(values, grid), path)


def _cached(path: Path, build) -> Path:
    """Return `path`, made by ``build(temporary path)`` and moved into place in one step.

    Two processes that build at once both succeed, and neither sees a half-written file.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as tmp:
        made = Path(tmp) / path.name
        build(made)
        try:
            os.replace(made, path)
        except OSError:  # a folder another process put there meanwhile is not replaced
            if not path.exists():
                raise
    return path


def template_subjects_dir() -> Path:
    """Folder to pass as ``subjects_dir`` for the template subject ``"fsaverage5"``.

    It holds a FreeSurfer-like subject (white, pial, inflated and spherical surfaces,
    curvature, BEM shells), written once to the user's cache folder (``MNE_INVKIT_CACHE``, or
    the system's cache folder) in about two seconds from what MNE and nilearn ship.

    Returns
    -------
    subjects_dir : pathlib.Path
        The parent folder of the subject ``fsaverage5``.

    Examples
    --------
    >>> from mne_invkit.heads import template_subjects_dir
    >>> brain = stc.plot(subjects_dir=template_subjects_dir())  # doctest: +SKIP
    """
    import pooch

    root = os.environ.get("MNE_INVKIT_CACHE") or pooch.os_cache("mne-invkit")
    subjects_dir = Path(root) / f"template-{_LAYOUT}"
    _cached(subjects_dir / SUBJECT, _write_subject)
    return subjects_dir


def template_trans() -> mne.transforms.Transform:
    """Transformation from the head frame to the MRI frame of the template.

    Returns
    -------
    trans : mne.transforms.Transform
        Head to MRI (surface RAS, which for this subject is MNI305).
    """
    return mne.read_trans(_SHIPPED / "fsaverage-trans.fif")


@verbose
def template_bem(
    conductivity: tuple[float, float, float] = CONDUCTIVITY, *, verbose=None
) -> mne.bem.ConductorModel:
    """Three-shell boundary-element model of the template head.

    Parameters
    ----------
    conductivity : tuple of float
        Conductivities of brain, skull and scalp in S/m.
    %(verbose)s

    Returns
    -------
    bem : mne.bem.ConductorModel
        The solution (642 vertices a shell), cached for each conductivity.
    """
    if len(conductivity) != 3 or min(conductivity) <= 0:
        raise ValueError(
            f"conductivity must be three positive numbers (brain, skull, scalp; S/m), "
            f"got {conductivity!r}."
        )
    subjects_dir = template_subjects_dir()
    tag = "-".join(f"{c:g}" for c in conductivity)
    path = subjects_dir / SUBJECT / "bem" / f"{SUBJECT}-{tag}-bem-sol.fif"

    def build(made):
        model = mne.make_bem_model(
            SUBJECT, ico=None, conductivity=conductivity, subjects_dir=subjects_dir
        )
        mne.write_bem_solution(made, mne.make_bem_solution(model))

    return mne.read_bem_solution(_cached(path, build))


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
        Subsampling of the surfaces, as in :func:`mne.setup_source_space` (``"ico3"``: 1,284
        sources, ``"ico4"``: 5,124, ``"all"``: 20,484).
    pos : float
        Distance between the points of the grid in mm.
    %(verbose)s

    Returns
    -------
    src : mne.SourceSpaces
        The source space in the MRI frame of the template.
    """
    if src not in ("surface", "volume"):
        raise ValueError(f'src must be "surface" or "volume", got {src!r}.')
    subjects_dir = template_subjects_dir()
    bem = subjects_dir / SUBJECT / "bem"
    if src == "surface":
        path = bem / f"{SUBJECT}-{spacing}-src.fif"

        def make():
            return mne.setup_source_space(
                SUBJECT, spacing=spacing, subjects_dir=subjects_dir, add_dist=False
            )
    else:
        path = bem / f"{SUBJECT}-vol-{pos:g}-src.fif"

        def make():
            return mne.setup_volume_source_space(
                SUBJECT, pos=pos, surface=bem / "inner_skull.surf", mindist=5.0,
                subjects_dir=subjects_dir,
            )  # fmt: skip

    return mne.read_source_spaces(_cached(path, lambda made: make().save(made)))


# %% Electrodes and the forward solution


@verbose
def place_electrodes(
    info: mne.Info, bem: mne.bem.ConductorModel, trans: mne.transforms.Transform, *, verbose=None
) -> mne.Info:
    """Move the electrodes radially onto the skin of a head.

    Parameters
    ----------
    info : mne.Info
        Measurement info with electrode positions in the head frame.
    bem : mne.bem.ConductorModel
        Head model whose outermost surface is the skin.
    trans : mne.transforms.Transform
        Head to MRI transformation.
    %(verbose)s

    Returns
    -------
    info : mne.Info
        A copy with the moved electrodes. None lies within 0.1 mm of a vertex of the skin,
        where the gain of MNE is not a number.
    """
    info = info.copy()
    picks = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    if not len(picks):
        return info
    old = np.array([info["chs"][k]["loc"][:3] for k in picks])
    bad = ~np.isfinite(old).all(axis=1) | (np.abs(old).max(axis=1) == 0)
    if bad.any():
        names = [info["ch_names"][k] for k in picks[bad]]
        raise ValueError(
            f"{len(names)} EEG channels have no position ({', '.join(names[:5])}...): call "
            'inst.set_montage("standard_1005") with the montage of your cap first, or drop '
            "these channels with inst.drop_channels."
        )
    skin = bem["surfs"][0]  # the outermost comes first
    origin = bem["surfs"][-1]["rr"].mean(axis=0)
    directions = mne.transforms.apply_trans(trans, old) - origin
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    new = _on_surface(origin, directions, skin)
    near = np.linalg.norm(new[:, None] - skin["rr"], axis=2).min(axis=1) < 1e-4
    if near.any():
        aside = np.cross(directions[near], np.roll(directions[near], 1, axis=1))
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        nudged = directions[near] + 5e-3 * aside  # about half a millimetre on the skin
        new[near] = _on_surface(
            origin, nudged / np.linalg.norm(nudged, axis=1, keepdims=True), skin
        )
    new = mne.transforms.apply_trans(mne.transforms.invert_transform(trans), new)
    moved = 1e3 * np.linalg.norm(new - old, axis=1)
    message = (
        f"Moved {len(picks)} electrodes onto the template's skin: median {np.median(moved):.1f} mm"
        f", at most {moved.max():.1f} mm."
    )
    if np.median(moved) > 30:
        mne.utils.warn(f"{message} Check the units and the frame of the montage.")
    else:
        logger.info(message)
    for k, loc in zip(picks, new, strict=True):
        info["chs"][k]["loc"][:3] = loc
    return info


def _on_surface(origin, directions, surface) -> np.ndarray:
    """Points where rays from `origin` leave a surface, shape (n, 3)."""
    r = _radii(origin, directions, surface["rr"], surface["tris"])
    return origin + r[:, None] * directions


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
        Kind of source space, see :func:`template_source_space`, or one of your own in the
        template's MRI frame.
    spacing : str
        Subsampling of the surfaces.
    pos : float
        Distance between the points of a volume grid in mm.
    conductivity : tuple of float
        Conductivities of brain, skull and scalp in S/m.
    mindist : float
        Least distance of a source from the inner skull in mm.
    %(verbose)s

    Returns
    -------
    forward : mne.Forward
        Free-orientation forward solution.

    Examples
    --------
    >>> import mne
    >>> from mne_invkit.heads import template_forward
    >>> montage = mne.channels.make_standard_montage("biosemi32")
    >>> info = mne.create_info(montage.ch_names, 256.0, "eeg").set_montage(montage)
    >>> forward = template_forward(info, spacing="ico3", verbose=False)
    >>> forward["nsource"]
    1284
    """
    picks = mne.pick_types(info, meg=True, eeg=True, ref_meg=True, exclude=[])
    if not len(picks):
        raise ValueError(
            "info has no EEG or MEG channels; set their types with inst.set_channel_types."
        )
    bem, trans = template_bem(conductivity), template_trans()
    if isinstance(src, str):
        src = template_source_space(src, spacing=spacing, pos=pos)
    info = place_electrodes(mne.pick_info(info, picks), bem, trans)
    return mne.make_forward_solution(info, trans, src, bem, mindist=mindist)


# %% Names


def region_name(position) -> str:
    """Name the place nearest to a position in the template.

    Parameters
    ----------
    position : array-like, shape (3,)
        Position in mm, MRI frame of the template (MNI305).

    Returns
    -------
    name : str
        Side and name of the nearest of the 160 regions of Dosenbach et al. (2010), which
        nilearn bundles, with the distance to its centre.
    """
    from nilearn import datasets

    regions = datasets.fetch_coords_dosenbach_2010()
    centres = np.array([[r["x"], r["y"], r["z"]] for _, r in regions["rois"].iterrows()], float)
    distances = np.linalg.norm(centres - np.asarray(position, float), axis=1)
    nearest = int(distances.argmin())
    side = "left" if position[0] < 0 else "right"
    name = str(regions["labels"][nearest]).rstrip("0123456789 ")
    return f"{side} {name} ({distances[nearest]:.0f} mm from its centre)"
