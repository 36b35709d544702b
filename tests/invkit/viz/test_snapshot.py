"""Snapshots and images have the values of the estimate at the positions of its locations."""

import shutil

import mne
import numpy as np
import pytest

from mne_invkit.heads.template import SUBJECT, template_subjects_dir, template_trans
from mne_invkit.inverse.stc import source_positions
from mne_invkit.viz.snapshot import estimate_to_nifti, take_snapshot

MOTOR = np.array([-38, -25, 58.0])


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("kind", ["surface", "volume", "mixed"])
def test_snapshot_of_every_class(kind, vector, surface_src, volume_src, make_stc):
    """Magnitudes at all locations, and the peak where the source is."""
    src = {"surface": surface_src, "volume": volume_src, "mixed": surface_src + volume_src}[kind]
    positions = 1e3 * source_positions(src)
    source = np.linalg.norm(positions - MOTOR, axis=1).argmin()
    snapshot = take_snapshot(make_stc(src, MOTOR, vector) * -1, src)
    expected = np.zeros(len(positions))
    expected[source] = 2e-8
    np.testing.assert_allclose(snapshot.magnitudes, expected, rtol=1e-12)
    peak = snapshot.peak()
    assert (peak.time, peak.value) == (0.01, pytest.approx(2e-8))
    np.testing.assert_allclose(peak.position, positions[source], atol=1e-3)
    on_cortex = kind != "volume" and source < sum(s["nuse"] for s in surface_src)
    assert peak.hemi == ("lh" if on_cortex else None)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("position", [MOTOR, [20, -70, 10]])
def test_nifti_maximum_is_at_the_source(volume_src, position, vector, make_stc):
    stc = make_stc(volume_src, position, vector)
    snapshot = take_snapshot(stc, volume_src)
    for estimate in (stc, stc + make_noise(stc)):
        image = estimate_to_nifti(estimate, volume_src)
        data = image.get_fdata()
        voxel = np.unravel_index(data.argmax(), data.shape)
        place = image.affine[:3, :3] @ voxel + image.affine[:3, 3]
        assert np.abs(place - snapshot.peak().position).max() <= 4.0
        assert 0.5 < data.max() / 2e-8 < 1.1


def make_noise(stc):
    noise = stc * 0
    noise.data += np.random.default_rng(1).normal(size=stc.data.shape) * 1e-10
    return noise


def test_head_frame_gives_the_same_image(volume_src, make_stc):
    trans = template_trans()
    moved = volume_src.copy()
    moved[0]["rr"] = mne.transforms.apply_trans(np.linalg.inv(trans["trans"]), moved[0]["rr"])
    moved[0]["coord_frame"] = trans["from"]
    stc = make_stc(volume_src, MOTOR)
    expected = estimate_to_nifti(stc, volume_src).get_fdata()
    for given in (None, trans, mne.transforms.invert_transform(trans)):
        image = estimate_to_nifti(stc, moved, trans=given)
        np.testing.assert_allclose(image.get_fdata(), expected, atol=1e-11)
    stc.subject = moved[0]["subject_his_id"] = "nobody"
    with pytest.raises(ValueError, match="mri_head_t"):
        estimate_to_nifti(stc, moved)


def test_image_of_a_source_space_read_back(volume_src, tmp_path, make_stc):
    volume_src.save(tmp_path / "vol-src.fif")
    src = mne.read_source_spaces(tmp_path / "vol-src.fif")
    stc = make_stc(volume_src, MOTOR)
    np.testing.assert_allclose(
        estimate_to_nifti(stc, src).get_fdata(),
        estimate_to_nifti(stc, volume_src).get_fdata(),
        atol=1e-12,
    )


def make_subject(folder, xfm=None, t1=True):
    """Copy the template's T1 into a subject of its own, with or without talairach.xfm."""
    template = template_subjects_dir() / SUBJECT / "mri"
    (folder / "own" / "mri" / "transforms").mkdir(parents=True)
    if t1:
        shutil.copy(template / "T1.mgz", folder / "own" / "mri" / "T1.mgz")
    if xfm is not None:
        text = (template / "transforms" / "talairach.xfm").read_text(encoding="utf-8")
        path = folder / "own" / "mri" / "transforms" / "talairach.xfm"
        path.write_text(text.replace("1 0 0 0", f"1 0 0 {xfm}"), encoding="utf-8")


@pytest.mark.parametrize(("xfm", "t1"), [(None, True), (7, True), (7, False)])
def test_mni_position_where_the_transformation_is_known(volume_src, make_stc, tmp_path, xfm, t1):
    make_subject(tmp_path, xfm, t1)
    snapshot = take_snapshot(
        make_stc(volume_src, MOTOR), volume_src, subject="own", subjects_dir=tmp_path
    )
    peak = snapshot.peak()
    if xfm and t1:
        np.testing.assert_allclose(peak.mni, peak.position + np.array([7, 0, 0]), atol=1e-3)
    else:
        assert peak.mni is None
    assert snapshot.has_t1 == t1


@pytest.mark.parametrize("time", ["0.1", np.nan])
def test_time_is_a_number(surface_src, make_stc, time):
    with pytest.raises(ValueError, match="time must be a number"):
        take_snapshot(make_stc(surface_src, MOTOR), time=time)


@pytest.mark.parametrize("time", [-0.006, 0.036])
def test_time_beyond_half_a_sample_is_outside(surface_src, make_stc, time):
    with pytest.raises(ValueError, match=r"outside of stc, which spans 0 to 0\.03 s"):
        take_snapshot(make_stc(surface_src, MOTOR), time=time)
