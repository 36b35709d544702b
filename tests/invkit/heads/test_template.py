"""The template head: closed nested shells, electrodes on the skin, a subject that MNE reads."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.electrodes import coregister_electrodes, place_electrodes
from mne_invkit.heads.regions import region_name
from mne_invkit.heads.surfaces import icosphere, radii, template_shells
from mne_invkit.heads.template import (
    SUBJECT,
    _cached,
    template_bem,
    template_forward,
    template_source_space,
    template_subjects_dir,
    template_trans,
)

MONTAGES = [
    "easycap-M1", "easycap-M43", "biosemi32", "biosemi256", "GSN-HydroCel-128", "EGI_256",
]  # fmt: skip


def info_of(montage, **kwargs):
    montage = mne.channels.make_standard_montage(montage, **kwargs)
    return mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)


def electrodes(info):
    return np.array([ch["loc"][:3] for ch in info["chs"]])


def random_directions(n, rng=0):
    directions = np.random.default_rng(rng).standard_normal((n, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def bem():
    return template_bem(verbose=False)


@pytest.fixture(scope="module")
def trans():
    return template_trans()


@pytest.fixture(scope="module")
def in_mri(trans):
    """From the head frame to the MRI frame."""
    return lambda positions: mne.transforms.apply_trans(trans, positions)


@pytest.fixture(scope="module")
def subject():
    return template_subjects_dir() / SUBJECT


# %% Surfaces


def signed_areas(rr, tris):
    """Area of each triangle, negative if its normal points to the origin."""
    a, b, c = rr[tris].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a) / 2
    return np.linalg.norm(normal, axis=1) * np.sign(np.sum(normal * (a + b + c), axis=1))


@pytest.mark.parametrize(("n", "n_vertices"), [(0, 12), (1, 42), (2, 162), (3, 642)])
def test_icosphere(n, n_vertices):
    rr, tris = icosphere(n)
    assert (len(rr), len(tris)) == (n_vertices, 2 * n_vertices - 4)
    np.testing.assert_allclose(np.linalg.norm(rr, axis=1), 1)
    areas = signed_areas(rr, tris)
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(4 * np.pi, rel=0.35 / 4**n)


def test_radii_of_a_sphere_from_an_inner_point():
    rr, tris = icosphere(4)
    origin, directions = np.array([0.3, -0.2, 0.4]), random_directions(100)
    along = directions @ origin
    expected = -along + np.sqrt(along**2 + 1 - origin @ origin)
    found = radii(origin, directions, rr, tris)
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    to_vertices = rr - origin
    distances = np.linalg.norm(to_vertices, axis=1)
    found = radii(origin, to_vertices / distances[:, None], rr, tris)
    np.testing.assert_allclose(found, distances)


def test_radii_are_those_of_the_outermost_crossing():
    rr, tris = icosphere(1)
    rr, tris = np.concatenate([rr, 2 * rr]), np.concatenate([tris, tris + len(rr)])
    directions = random_directions(50)
    found = radii(np.zeros(3), directions, rr, tris)
    np.testing.assert_allclose(found, radii(np.zeros(3), directions, rr, tris[len(tris) // 2 :]))
    with pytest.raises(RuntimeError, match="No surface in the direction"):
        radii(np.array([3.0, 0, 0]), np.array([[1.0, 0, 0]]), rr, tris)


def test_shells_are_closed_and_nested():
    template = template_shells()
    assert list(template) == ["inner_skull", "outer_skull", "outer_skin"]
    origin = template["inner_skull"][0].mean(axis=0)
    for rr, tris in template.values():
        edges = np.sort(tris[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        np.testing.assert_array_equal(counts, 2)
        assert len(rr) - len(counts) + len(tris) == 2  # Euler: a sphere
        assert signed_areas(rr - origin, tris).min() > 0
    directions = random_directions(300)
    inner, outer, skin = (radii(origin, directions, *s) for s in template.values())
    assert 0.0035 < (outer - inner).min() < (outer - inner).max() < 0.013
    assert 0.0075 < (skin - inner).min() < (skin - inner).max() < 0.0255
    assert 0.06 < skin.min() < skin.max() < 0.15


# %% Electrodes


@pytest.mark.parametrize("montage", MONTAGES)
def test_electrodes_move_radially_onto_the_skin(bem, trans, in_mri, montage):
    info = info_of(montage)
    before = electrodes(info)
    placed = place_electrodes(info, bem, trans, verbose=False)
    np.testing.assert_array_equal(electrodes(info), before)
    skin, origin = bem["surfs"][0], bem["surfs"][-1]["rr"].mean(axis=0)
    rays, old = in_mri(electrodes(placed)) - origin, in_mri(before) - origin
    distance = np.linalg.norm(rays, axis=1)
    on_skin = radii(origin, rays / distance[:, None], skin["rr"], skin["tris"])
    np.testing.assert_allclose(distance, on_skin, atol=1e-6)
    cosine = np.sum(rays * old, axis=1) / distance / np.linalg.norm(old, axis=1)
    assert cosine.min() > np.cos(6e-3)
    apart = np.linalg.norm((rays + origin)[:, None] - skin["rr"], axis=2)
    assert apart.min() >= 1e-4


def test_electrode_at_a_vertex_gives_finite_gains(bem, trans, in_mri):
    vertices = bem["surfs"][0]["rr"][::80]
    to_head = mne.transforms.invert_transform(trans)
    info = mne.create_info(len(vertices), 100.0, "eeg")
    for ch, rr in zip(info["chs"], mne.transforms.apply_trans(to_head, vertices), strict=True):
        ch["loc"][:3] = rr
    placed = place_electrodes(info, bem, trans, verbose=False)
    apart = np.linalg.norm(in_mri(electrodes(placed)) - vertices, axis=1)
    assert apart.min() >= 1e-4
    assert apart.max() < 2e-3
    forward = template_forward(info, "volume", pos=40.0, verbose=False)
    assert np.isfinite(forward["sol"]["data"]).all()


def test_every_electrode_has_a_gain():
    info = info_of("easycap-M1")
    forward = template_forward(info, "volume", pos=40.0, verbose=False)
    assert forward["sol"]["row_names"] == info.ch_names
    assert np.isfinite(forward["sol"]["data"]).all()
    assert np.linalg.norm(forward["sol"]["data"], axis=1).min() > 0


def test_gain_is_largest_at_the_nearest_electrodes(forwards):
    """A radial source under the skin is seen best right above it."""
    forward = forwards["volume"]
    rr, nearest = forward["source_rr"], electrodes(forward["info"])
    distance = np.linalg.norm(rr[:, None] - nearest, axis=2)
    shallow = np.flatnonzero(distance.min(axis=1) < 0.03)
    gain = forward["sol"]["data"].reshape(len(nearest), -1, 3)
    radial = rr - rr.mean(axis=0)
    fields = np.einsum("cni,ni->nc", gain, radial)[shallow]
    found = distance[shallow, fields.argmax(axis=1)]
    assert len(shallow) > 20
    assert np.median(found - distance[shallow].min(axis=1)) < 0.01


def test_meg_stays_where_it_is(meeg_info):
    info = mne.pick_info(meeg_info, mne.pick_types(meeg_info, meg="mag"))
    forward = template_forward(info, "volume", pos=40.0, verbose=False)
    assert np.isfinite(forward["sol"]["data"]).all()
    np.testing.assert_array_equal(electrodes(forward["info"]), electrodes(info))


def test_electrodes_far_from_the_head_warn(bem, trans):
    info = info_of("biosemi32", head_size=0.2)
    with pytest.warns(RuntimeWarning, match="units and the frame"):
        place_electrodes(info, bem, trans)


def test_coregistration_undoes_a_rigid_motion(bem, trans):
    info = place_electrodes(info_of("biosemi256"), bem, trans, verbose=False)
    true = electrodes(info)
    turn = mne.transforms.rotation(0.1, -0.08, 0.05)[:3, :3]
    found = coregister_electrodes(true @ turn.T + [0.004, -0.01, 0.008], bem, trans)
    assert np.linalg.norm(found - true, axis=1).max() < 5e-3
    gram = (found - found.mean(axis=0)) @ (found - found.mean(axis=0)).T
    rigid = (true - true.mean(axis=0)) @ (true - true.mean(axis=0)).T
    np.testing.assert_allclose(gram, rigid, atol=1e-9)


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
        s["coord_frame"] = 5  # MRI
    forward = template_forward(eeg_info, src, verbose=False)
    to_head = mne.transforms.invert_transform(template_trans())
    expected = mne.transforms.apply_trans(to_head, rr)
    np.testing.assert_allclose(forward["source_rr"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("position", "name"),
    [
        ((-38, -21, 58), "left parietal"),
        ((0, 50, 0), "right vmPFC"),
        ((-30, -90, 0), "left post occipital"),
    ],
)
def test_region_name(position, name):
    assert region_name(position).startswith(name)
    assert "mm from its center" in region_name(position)


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


def test_electrodes_without_position_raise(eeg_info):
    info = mne.create_info(["Fz", "Cz"], 100.0, "eeg")
    with pytest.raises(ValueError, match=r"2 EEG channels have no position.*set_montage"):
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
