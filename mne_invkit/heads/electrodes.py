"""Electrodes moved onto the skin of a head."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import logger, verbose
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mne_invkit._mne import is_bipolar
from mne_invkit.heads.surfaces import on_surface, radii


def coregister_electrodes(
    positions: np.ndarray, surfs: list[dict], trans: mne.transforms.Transform
) -> np.ndarray:
    """Move digitized electrodes as one rigid body onto the skin of a head.

    Parameters
    ----------
    positions : ndarray, shape (n, 3)
        Positions in m, roughly in the head frame (x to the right, y to the front, z up,
        origin between the ears).
    surfs : list of dict
        Surfaces of the head in the MRI frame, from the skin to the inner skull, such as
        ``bem["surfs"]``.
    trans : mne.transforms.Transform
        Head to MRI transformation.

    Returns
    -------
    positions : ndarray, shape (n, 3)
        The moved positions. They minimize the squared distances to the skin, with a weak
        penalty on the motion.
    """
    skin, origin = surfs[0], surfs[-1]["rr"].mean(axis=0)
    penalty = 0.003 * np.sqrt(len(positions))  # m, for each radian and for each 100 mm

    def move(motion):
        return Rotation.from_rotvec(motion[:3]).apply(positions) + motion[3:] / 10

    def misfit(motion):
        rays = mne.transforms.apply_trans(trans, move(motion)) - origin
        distance = np.linalg.norm(rays, axis=1)
        skin_distance = radii(origin, rays / distance[:, None], skin["rr"], skin["tris"])
        return np.concatenate([distance - skin_distance, penalty * motion])

    motion = least_squares(misfit, np.zeros(6), diff_step=1e-4, x_scale=0.1).x
    rms = 1e3 * np.sqrt(np.mean(misfit(motion)[:-6] ** 2))
    logger.info("Distance of the electrodes from the skin: %.1f mm (root mean square).", rms)
    return move(motion)


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
        where MNE computes a gain of NaN.
    """
    info = info.copy()
    picks = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    if not len(picks):
        return info
    pairs = [info["ch_names"][k] for k in picks if is_bipolar(info["chs"][k])]
    if pairs:
        raise ValueError(
            f"{len(pairs)} EEG channels are bipolar ({', '.join(pairs[:5])}): each is the "
            "difference of two electrodes and has no place of its own. Use the recording before "
            "mne.set_bipolar_reference, or drop these channels with inst.drop_channels."
        )
    old = np.array([info["chs"][k]["loc"][:3] for k in picks])
    bad = ~np.isfinite(old).all(axis=1) | (np.abs(old).max(axis=1) == 0)
    if bad.any():
        names = [info["ch_names"][k] for k in picks[bad]]
        raise ValueError(
            f"{len(names)} EEG channels have no position ({', '.join(names[:5])}...): set the "
            'montage of your cap first, such as inst.set_montage("biosemi64"), or drop these '
            "channels with inst.drop_channels."
        )
    skin = bem["surfs"][0]  # the outermost comes first
    origin = bem["surfs"][-1]["rr"].mean(axis=0)
    directions = mne.transforms.apply_trans(trans, old) - origin
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    new = on_surface(origin, directions, skin)
    near = np.linalg.norm(new[:, None] - skin["rr"], axis=2).min(axis=1) < 1e-4
    if near.any():
        aside = np.cross(directions[near], np.roll(directions[near], 1, axis=1))
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        nudged = directions[near] + 5e-3 * aside  # about half a millimetre on the skin
        new[near] = on_surface(origin, nudged / np.linalg.norm(nudged, axis=1, keepdims=True), skin)
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
