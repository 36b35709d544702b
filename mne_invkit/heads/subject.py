"""The template as a FreeSurfer subject: surfaces, T1, frame, regions of the cortex, shells."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np

from mne_invkit.heads.regions import ATLAS, MNI305_TO_MNI152, divide_cortex
from mne_invkit.heads.surfaces import SHIPPED, template_shells

SUBJECT = "fsaverage5"
HEMIS = {"lh": "left", "rh": "right"}

_THINNEST = 0.5  # mm; thinner places are not cortex
_SURFACES = dict(white="white", pial="pial", inflated="infl", sphere="sphere")
_MAPS = dict(curv="curv", sulc="sulc", area="area", thickness="thick")


def write_subject(folder: Path) -> None:
    """Write the template as FreeSurfer lays out a subject.

    Parameters
    ----------
    folder : pathlib.Path
        Folder to make.
    """
    import nibabel
    from nilearn import datasets

    for name in ("surf", "bem", "label", "mri/transforms"):
        (folder / name).mkdir(parents=True)
    files = datasets.fetch_surf_fsaverage(SUBJECT)
    for hemi, side in HEMIS.items():
        for name, key in _SURFACES.items():
            rr, tris = (a.data for a in nibabel.load(files[f"{key}_{side}"]).darrays)
            mne.write_surface(folder / "surf" / f"{hemi}.{name}", rr, tris)
        for name, key in _MAPS.items():
            values = nibabel.load(files[f"{key}_{side}"]).darrays[0].data
            nibabel.freesurfer.write_morph_data(folder / "surf" / f"{hemi}.{name}", values)
        _write_regions(folder, hemi)
    write_registration(folder)
    _write_mri(folder / "mri")
    for name, (rr, tris) in template_shells().items():
        mne.write_surface(folder / "bem" / f"{name}.surf", rr * 1e3, tris)
    fiducials, frame = mne.io.read_fiducials(SHIPPED / "fsaverage-fiducials.fif", verbose="error")
    path = folder / "bem" / f"{SUBJECT}-fiducials.fif"
    mne.io.write_fiducials(path, fiducials, frame, verbose="error")


def write_registration(folder: Path) -> None:
    """Write the spheres by which MNE morphs from subject to subject.

    The vertices of fsaverage5 are the first 10,242 of fsaverage, so they serve for both.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the subject.
    """
    import nibabel
    from nilearn import datasets

    (folder / "surf").mkdir(parents=True, exist_ok=True)
    files = datasets.fetch_surf_fsaverage(SUBJECT)
    for hemi, side in HEMIS.items():
        rr, tris = (a.data for a in nibabel.load(files[f"sphere_{side}"]).darrays)
        mne.write_surface(folder / "surf" / f"{hemi}.sphere.reg", rr, tris)


def is_cortex(folder: Path, hemi: str) -> np.ndarray:
    """Tell which vertices are cortex: the white surface also closes over the brainstem.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the template.
    hemi : {"lh", "rh"}
        The hemisphere.

    Returns
    -------
    mask : ndarray of bool, shape (n_vertices,)
        False on the medial wall.
    """
    import nibabel

    return nibabel.freesurfer.read_morph_data(folder / "surf" / f"{hemi}.thickness") >= _THINNEST


def _write_regions(folder: Path, hemi: str) -> None:
    """Write regions of the cortex, which the medial wall is not part of."""
    import nibabel
    from matplotlib import colormaps

    rr, _ = mne.read_surface(folder / "surf" / f"{hemi}.white")
    regions, names = divide_cortex(rr, hemi)
    regions[~is_cortex(folder, hemi)] = -1
    colors = colormaps["turbo"](np.linspace(0, 1, len(names)), bytes=True)
    colors[:, 3] = 0  # FreeSurfer's word for opaque
    path = folder / "label" / f"{hemi}.{ATLAS}.annot"
    nibabel.freesurfer.write_annot(path, regions, colors.astype(int), names, fill_ctab=True)


def _write_mri(folder: Path) -> None:
    """Write the MNI152 image that nilearn bundles on the grid of fsaverage (256^3, 1 mm).

    And write that the frame of this image is MNI305, for MNE to find MNI coordinates.
    """
    import nibabel
    from nilearn import datasets
    from scipy.ndimage import affine_transform

    image = datasets.load_mni152_template(resolution=1)
    grid = np.array([[-1, 0, 0, 128], [0, 0, 1, -128], [0, -1, 0, 128], [0, 0, 0, 1.0]])
    to_voxel = np.linalg.inv(image.affine) @ MNI305_TO_MNI152 @ grid
    values = np.asarray(image.dataobj, np.float32)
    values = affine_transform(values, to_voxel, output_shape=(256,) * 3, order=1)
    values = np.round(255 * values / values.max()).clip(0, 255).astype(np.uint8)
    nibabel.save(nibabel.MGHImage(values, grid), folder / "T1.mgz")
    rows = "\n".join(" ".join(map(str, row)) for row in np.eye(4, dtype=int)[:3])
    (folder / "transforms" / "talairach.xfm").write_text(
        f"MNI Transform File\n\nTransform_Type = Linear;\nLinear_Transform =\n{rows};\n",
        encoding="utf-8",
    )
