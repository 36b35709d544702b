"""Electrodes stand on the skin, where gains are numbers."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.electrodes import coregister_electrodes, place_electrodes
from mne_invkit.heads.surfaces import radii
from mne_invkit.heads.template import template_forward

MONTAGES = [
    "easycap-M1", "easycap-M43", "biosemi32", "biosemi256", "GSN-HydroCel-128", "EGI_256",
]  # fmt: skip


def info_of(montage, **kwargs):
    montage = mne.channels.make_standard_montage(montage, **kwargs)
    return mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)


def electrodes(info):
    return np.array([ch["loc"][:3] for ch in info["chs"]])


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
    found = coregister_electrodes(true @ turn.T + [0.004, -0.01, 0.008], bem["surfs"], trans)
    assert np.linalg.norm(found - true, axis=1).max() < 5e-3
    gram = (found - found.mean(axis=0)) @ (found - found.mean(axis=0)).T
    rigid = (true - true.mean(axis=0)) @ (true - true.mean(axis=0)).T
    np.testing.assert_allclose(gram, rigid, atol=1e-9)


def test_electrodes_without_position_raise(eeg_info):
    info = mne.create_info(["Fz", "Cz"], 100.0, "eeg")
    with pytest.raises(ValueError, match=r"2 EEG channels have no position.*set_montage"):
        template_forward(info)
