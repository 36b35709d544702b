"""The template head: a subject that MNE reads, source spaces, forward solutions."""

import mne
import numpy as np
import pytest
from mne.io.constants import FIFF

from mne_invkit.heads.surfaces import radii
from mne_invkit.heads.template import (
    SUBJECT,
    _cached,
    template_bem,
    template_forward,
    template_source_space,
    template_subjects_dir,
    template_trans,
)


@pytest.fixture(scope="module")
def subject():
    return template_subjects_dir() / SUBJECT


# %% The subject folder


@pytest.mark.parametrize("hemi", ["lh", "rh"])
@pytest.mark.parametrize("name", ["white", "pial", "inflated", "sphere", "sphere.reg"])
def test_surfaces_can_be_read(subject, hemi, name):
    rr, tris = mne.read_surface(subject / "surf" / f"{hemi}.{name}")
    assert (len(rr), len(tris)) == (10242, 20480)
    if name.startswith("sphere"):
        np.testing.assert_allclose(np.linalg.norm(rr, axis=1), 100, rtol=1e-3)
    elif name != "inflated":
        side = -1 if hemi == "lh" else 1
        assert side * rr[:, 0].mean() > 20
        assert np.abs(rr).max() < 120  # mm


def test_mri_fits_the_surfaces(subject):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(subject / "mri" / "T1.mgz")
    assert image.shape == (256, 256, 256)
    np.testing.assert_allclose(image.affine, image.header.get_vox2ras_tkr())
    values, to_voxel = image.get_fdata(), np.linalg.inv(image.affine)

    def brightness(rr):
        i, j, k = np.round(mne.transforms.apply_trans(to_voxel, rr)).astype(int).T
        return np.median(values[i, j, k])

    white = mne.read_surface(subject / "surf" / "lh.white")[0]
    skin = mne.read_surface(subject / "bem" / "outer_skin.surf")[0]
    beyond = skin[skin[:, 2] > 30] * 1.2
    assert brightness(white) > 100 > 10 > brightness(beyond)


def test_fiducials_define_the_head_frame(subject, trans):
    path = subject / "bem" / f"{SUBJECT}-fiducials.fif"
    fiducials, _ = mne.io.read_fiducials(path, verbose=False)
    to_head = mne.transforms.invert_transform(trans)
    lpa, nasion, rpa = mne.transforms.apply_trans(to_head, np.array([f["r"] for f in fiducials]))
    np.testing.assert_allclose([*lpa[1:], *rpa[1:], nasion[0], nasion[2]], 0, atol=1e-3)
    assert lpa[0] < -0.06 < 0.06 < rpa[0]


@pytest.mark.parametrize(("spacing", "n_sources"), [("ico3", 1216), ("ico4", 4857)])
def test_cortex_leaves_out_the_medial_wall(subject, spacing, n_sources):
    nibabel = pytest.importorskip("nibabel")
    src = template_source_space(spacing=spacing, verbose=False)
    assert (src.kind, sum(s["nuse"] for s in src)) == ("surface", n_sources)
    for s, hemi in zip(src, ["lh", "rh"], strict=True):
        path = subject / "surf" / f"{hemi}.thickness"
        thickness = nibabel.freesurfer.read_morph_data(path)
        assert thickness[s["vertno"]].min() > 0.5  # mm
        assert len(s["vertno"]) == s["nuse"] == s["inuse"].sum()


@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_sources_are_inside_the_skull(forwards, bem, in_mri, kind):
    inner = bem["surfs"][-1]
    origin = inner["rr"].mean(axis=0)
    rays = in_mri(forwards[kind]["source_rr"]) - origin
    distance = np.linalg.norm(rays, axis=1)
    skull = radii(origin, rays / distance[:, None], inner["rr"], inner["tris"])
    assert (distance < skull).all()


def test_volume_is_a_grid():
    src = template_source_space("volume", pos=20.0, verbose=False)
    rr = 1e3 * src[0]["rr"][src[0]["vertno"]]
    np.testing.assert_allclose(rr, 20 * np.round(rr / 20), atol=1e-3)


def test_own_source_space(eeg_info):
    rr = np.array([[-0.03, -0.02, 0.05], [0.03, 0.0, 0.04]])
    nn = np.tile([0.0, 0, 1], (2, 1))
    src = mne.setup_volume_source_space(pos=dict(rr=rr, nn=nn), verbose=False)
    for s in src:
        s["coord_frame"] = FIFF.FIFFV_COORD_MRI
    forward = template_forward(eeg_info, src, verbose=False)
    to_head = mne.transforms.invert_transform(template_trans())
    expected = mne.transforms.apply_trans(to_head, rr)
    np.testing.assert_allclose(forward["source_rr"], expected, atol=1e-6)


# %% The cache


def test_cache_is_built_once_and_never_half(tmp_path):
    path = tmp_path / "cache" / "made"

    def fail(made):
        made.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        _cached(path, fail)
    assert list(path.parent.iterdir()) == []
    _cached(path, lambda made: made.write_text("whole"))
    _cached(path, fail)
    assert path.read_text() == "whole"


# %% Bad input


def test_info_without_sensors_raises():
    with pytest.raises(ValueError, match="set_channel_types"):
        template_forward(mne.create_info(["STI"], 100.0, "stim"))


@pytest.mark.parametrize("conductivity", [(0.3,), (0.3, 0.006, 0), (0.3, -0.006, 0.3)])
def test_impossible_conductivity_raises(conductivity):
    with pytest.raises(ValueError, match="three positive numbers"):
        template_bem(conductivity)


def test_unknown_source_space_raises(eeg_info):
    with pytest.raises(ValueError, match='"surface" or "volume"'):
        template_forward(eeg_info, "cortex")
