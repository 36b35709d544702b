"""The template head: a subject that MNE reads, source spaces, forward solutions."""

import mne
import numpy as np
import pytest
from mne.io.constants import FIFF
from scipy.sparse.csgraph import connected_components

from mne_invkit.heads import template
from mne_invkit.heads.regions import ATLAS
from mne_invkit.heads.surfaces import on_surface, radii
from mne_invkit.heads.template import (
    SUBJECT,
    template_bem,
    template_forward,
    template_source_space,
    template_subjects_dir,
    template_surfaces,
    template_trans,
)
from mne_invkit.inverse.problem import prepare_problem


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


def test_frame_is_mni305(subject, trans):
    """MNE's own functions find MNI coordinates."""
    vertex, folder = 4321, subject.parent
    white = mne.read_surface(subject / "surf" / "rh.white")[0]
    found = mne.vertex_to_mni([vertex], [1], SUBJECT, folder)
    np.testing.assert_allclose(found[0], white[vertex], atol=1e-3)
    head = mne.transforms.apply_trans(np.linalg.inv(trans["trans"]), white[[vertex]] / 1e3)
    found = mne.head_to_mni(head, SUBJECT, trans, folder)
    np.testing.assert_allclose(found[0], white[vertex], atol=1e-3)


def test_regions_of_the_cortex(subject):
    """Regions cover the cortex once, and give time courses."""
    labels = mne.read_labels_from_annot(SUBJECT, ATLAS, subjects_dir=subject.parent)
    src = template_source_space(spacing="all", verbose=False)
    for s, hemi in zip(src, ["lh", "rh"], strict=True):
        vertices = np.concatenate([label.vertices for label in labels if label.hemi == hemi])
        np.testing.assert_array_equal(np.sort(vertices), s["vertno"])
    assert not any(deep in lab.name for lab in labels for deep in ("cerebellum", "thalamus"))
    (hand,) = [label for label in labels if label.name == "parietal 75-lh"]
    white = mne.read_surface(subject / "surf" / "lh.white")[0]
    assert np.linalg.norm(white[hand.vertices].mean(axis=0) - [-38, -27, 58]) < 8
    src = template_source_space(verbose=False)
    vertices = [s["vertno"] for s in src]
    inside = np.isin(vertices[0], hand.vertices)
    assert inside.any()
    data = np.r_[inside, np.zeros(len(vertices[1]))][:, np.newaxis]
    stc = mne.SourceEstimate(data, vertices, 0.0, 0.01, subject=SUBJECT)
    found = stc.extract_label_time_course(labels, src, mode="mean")[:, 0]
    assert [label.name for label, one in zip(labels, found, strict=True) if one] == [hand.name]


def test_morph_to_fsaverage_keeps_the_vertices(subject):
    """The first vertices of fsaverage are those of the template: nothing moves."""
    src = template_source_space(spacing="all", verbose=False)
    vertices = [s["vertno"] for s in src]
    data = np.zeros((sum(map(len, vertices)), 1))
    data[500] = 1.0
    stc = mne.SourceEstimate(data, vertices, 0.0, 0.01, subject=SUBJECT)
    morph = mne.compute_source_morph(
        stc, SUBJECT, "fsaverage", subjects_dir=subject.parent, smooth=1, warn=False, verbose=False
    )
    moved = morph.apply(stc)
    assert moved.subject == "fsaverage"
    assert [len(v) for v in moved.vertices] == [10242, 10242]
    assert moved.data.argmax() == vertices[0][500]


def test_morph_from_another_subject(subject, tmp_path):
    """A link to the template beside the subject is enough."""
    (tmp_path / SUBJECT).symlink_to(subject, target_is_directory=True)
    (tmp_path / "own" / "surf").mkdir(parents=True)
    for hemi in ("lh", "rh"):
        rr, tris = mne.read_surface(subject / "surf" / f"{hemi}.sphere.reg")
        mne.write_surface(tmp_path / "own" / "surf" / f"{hemi}.sphere.reg", rr[::-1], 10241 - tris)
    src = template_source_space(spacing="ico3", verbose=False)
    vertices = [s["vertno"] for s in src]
    own = [np.sort(10241 - v) for v in vertices]
    data = np.zeros((sum(map(len, own)), 1))
    data[700] = 1.0
    stc = mne.SourceEstimate(data, own, 0.0, 0.01, subject="own")
    morph = mne.compute_source_morph(
        stc, "own", SUBJECT, src_to=src, subjects_dir=tmp_path, smooth=1, warn=False, verbose=False
    )
    moved = morph.apply(stc)
    assert moved.subject == SUBJECT
    found = np.concatenate(vertices)[moved.data.argmax()]
    assert found == 10241 - np.concatenate(own)[700]


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


@pytest.mark.parametrize("spacing", ["ico3", "ico4", "oct4", "all"])
def test_neighbors_are_known(spacing):
    """MNE finds them without a warning, and the cortex of a hemisphere is in one piece."""
    src = template_source_space(spacing=spacing, verbose=False)
    adjacency = mne.spatial_src_adjacency(src, verbose=False)
    n_left, n_right = (s["nuse"] for s in src)
    assert adjacency.shape == (n_left + n_right,) * 2
    n_pieces, piece = connected_components(adjacency)
    assert n_pieces == 2
    np.testing.assert_array_equal(piece, np.repeat([0, 1], [n_left, n_right]))
    for s in src:
        np.testing.assert_array_equal(np.unique(s["use_tris"]), s["vertno"])
        assert s["nuse_tri"] == len(s["use_tris"])


def test_neighbors_are_known_after_a_forward_solution_left_locations_out(eeg_info):
    forward = template_forward(eeg_info, spacing="ico3", mindist=8.0, verbose=False)
    with pytest.warns(RuntimeWarning, match="omitted"):
        adjacency = mne.spatial_src_adjacency(forward["src"], verbose=False)
    assert adjacency.shape == (forward["nsource"],) * 2
    assert 1000 < forward["nsource"] < 1216
    assert connected_components(adjacency)[0] == 2


@pytest.mark.parametrize("kind", ["surface", "volume"])
def test_sources_are_inside_the_skull(forwards, bem, in_mri, kind):
    inner = bem["surfs"][-1]
    origin = inner["rr"].mean(axis=0)
    rays = in_mri(forwards[kind]["source_rr"]) - origin
    distance = np.linalg.norm(rays, axis=1)
    skull = radii(origin, rays / distance[:, None], inner["rr"], inner["tris"])
    assert (distance < skull).all()


def test_surfaces_are_those_of_the_bem(bem):
    for found, wanted in zip(template_surfaces(), bem["surfs"], strict=True):
        np.testing.assert_array_equal(found["rr"], wanted["rr"])
        np.testing.assert_array_equal(found["tris"], wanted["tris"])


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


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "flipped"])
def test_damaged_surface_is_written_again(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("MNE_INVKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(template, "write_subject", lambda folder: _write_little(folder))
    path = template_subjects_dir() / SUBJECT / "surf" / "lh.white"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = whole[:-1] + bytes([whole[-1] ^ 1])
        path.write_bytes(dict(truncated=whole[:-9], empty=b"", flipped=flipped)[damage])
    template_subjects_dir()
    assert path.read_bytes() == whole


def _write_little(folder):
    (folder / "surf").mkdir()
    (folder / "surf" / "lh.white").write_bytes(bytes(range(100)))


# %% Kinds of MEG sensors


def helmet(coil, kind, radius, n=12):
    """Sensors around the template's head, in the head frame."""
    z = np.linspace(0.2, 0.95, n)
    turn = 2.4 * np.arange(n)
    out = np.column_stack([np.cos(turn), np.sin(turn), z])
    out[:, :2] *= np.sqrt(1 - z[:, np.newaxis] ** 2)
    info = mne.create_info([f"{kind} {k}" for k in range(n)], 100.0, kind)
    for ch, ez in zip(info["chs"], out, strict=True):
        ex = np.cross(ez, [0.1, 0.2, 1.0]) / np.linalg.norm(np.cross(ez, [0.1, 0.2, 1.0]))
        ch["loc"] = np.concatenate([[0, 0, 0.04] + radius * ez, ex, np.cross(ez, ex), ez])
        ch["coil_type"] = coil
    info["dev_head_t"] = mne.transforms.Transform("meg", "head")
    return mne.io.RawArray(np.zeros((n, 1)), info, verbose=False)


@pytest.mark.parametrize(
    ("coil", "kind", "reference"),
    [
        ("KIT_GRAD", "grad", "KIT_REF_MAG"),
        ("CTF_GRAD", "mag", "CTF_REF_MAG"),
        ("MAGNES_MAG", "mag", "MAGNES_REF_MAG"),
        ("QUSPIN_ZFOPM_MAG", "mag", None),
    ],
)
def test_sensors_of_all_makers(coil, kind, reference, discrete, trans):
    """From the sensors to a whitened problem; KIT's references are left out, as MNE asks."""
    raw = helmet(getattr(FIFF, f"FIFFV_COIL_{coil}"), kind, 0.14)
    if reference:
        others = helmet(getattr(FIFF, f"FIFFV_COIL_{reference}"), "ref_meg", 0.25, n=3)
        raw.add_channels([others], force_update_info=True)
    src = in_mri_frame(discrete, trans)
    forward = template_forward(raw.info, src, mindist=0, verbose=False)
    assert forward["nchan"] == 12
    data = np.random.default_rng(0).standard_normal((len(raw.ch_names), 20)) * 1e-13
    recording = mne.io.RawArray(data, raw.info, verbose=False)
    problem = prepare_problem(recording, forward, verbose=False)
    assert problem.data.shape == (1, 12, 20)
    assert np.isfinite(problem.gain).all()


def in_mri_frame(discrete, trans):
    src = discrete.copy()
    for s in src:
        s["coord_frame"] = FIFF.FIFFV_COORD_MRI
        s["rr"] = mne.transforms.apply_trans(trans, s["rr"])
    return src


def test_sensors_within_the_scalp(discrete, bem, trans):
    """Those of a head smaller than the template are tolerated, those within the skull are not."""
    opm = FIFF.FIFFV_COIL_QUSPIN_ZFOPM_MAG
    with pytest.raises(ValueError, match=r"MEG sensors lie inside .*dev_head_t.*scale_mri"):
        template_forward(helmet(opm, "mag", 0.08).info, verbose=False)
    raw = helmet(opm, "mag", 0.15, n=1)
    origin, up = bem["surfs"][-1]["rr"].mean(axis=0), np.array([0.0, 0.0, 1.0])
    spot = on_surface(origin, up[np.newaxis], bem["surfs"][0])[0] - 0.003 * up
    to_head = mne.transforms.invert_transform(trans)
    raw.info["chs"][0]["loc"][:3] = mne.transforms.apply_trans(to_head, spot)
    with pytest.warns(RuntimeWarning, match=r"1 of 1 MEG sensors lie .*up to 3 mm deep"):
        template_forward(raw.info, in_mri_frame(discrete, trans), mindist=0, verbose=False)


# %% Bad input


def test_bipolar_channels_have_no_place(eeg_info):
    info = eeg_info.copy()
    info["chs"][2]["coil_type"] = FIFF.FIFFV_COIL_EEG_BIPOLAR
    with pytest.raises(ValueError, match=rf"bipolar \({info['ch_names'][2]}\).*drop_channels"):
        template_forward(info)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mindist=500.0), "mindist must be a number from 0 to 50 mm"),
        (dict(mindist="3"), "mindist must be a number"),
        (dict(spacing="ico9"), "spacing must be one of ico0, .*oct6, all, got 'ico9'"),
        (dict(src="volume", pos=0), "pos must be a positive number"),
        (dict(src="volume", pos=np.nan), "pos must be a positive number"),
        (dict(conductivity=0.3), "three positive numbers"),
    ],
)
def test_options_without_meaning_are_refused(options, message, eeg_info):
    with pytest.raises(ValueError, match=message):
        template_forward(eeg_info, **options)


def test_data_in_the_place_of_an_info(eeg_evoked):
    with pytest.raises(TypeError, match=r"pass inst\.info"):
        template_forward(eeg_evoked)
