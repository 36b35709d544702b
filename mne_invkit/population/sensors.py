"""Sensors around any head: electrodes of many caps, and MEG arrays on the helmets MNE ships."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np
from mne.io.constants import FIFF

from mne_invkit.heads.surfaces import on_surface, template_shells
from mne_invkit.heads.template import template_trans
from mne_invkit.population.montages import CAPS, cap_names, farthest_points
from mne_invkit.population.shape import Anatomy, rigid_motion

_STANDARD = ("colin27_1005", "standard_1005")  # its name in MNE 1.13, and before
_DENSE = "GSN-HydroCel-256"
_HELMETS = {"306m": -0.08, "122m": -0.08, "CTF_275": -0.04}  # lowest site (m, device frame)
_N_PLANAR = 102  # sites with planar gradiometers
_N_DENSE = (150, 276)  # sites without, at least and below
_MIN_GAP, _MAX_GAP = 0.001, 0.015  # m, from a head to any coil, and to the top of its helmet
_COILS = dict(mag=FIFF.FIFFV_COIL_POINT_MAGNETOMETER, grad=FIFF.FIFFV_COIL_VV_PLANAR_T1)


class Sensors(NamedTuple):
    """Sensors of one or more kinds.

    Attributes
    ----------
    names : ndarray of str, shape (n_sensors,)
        Names.
    kinds : ndarray of str, shape (n_sensors,)
        "eeg", "mag" or "grad".
    positions : ndarray, shape (n_sensors, 3)
        Positions in the head frame (m).
    axes : ndarray, shape (n_sensors, 3, 3)
        Rows: two tangents and the outward normal of a coil; zeros for an electrode.
    """

    names: np.ndarray
    kinds: np.ndarray
    positions: np.ndarray
    axes: np.ndarray

    def __add__(self, other: Sensors) -> Sensors:
        """Join two sets."""
        return Sensors(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def to_info(self) -> mne.Info:
        """Channels of MNE with these positions, MEG device and head frame being one."""
        info = mne.create_info(self.names.tolist(), 1000.0, self.kinds.tolist())
        for k, ch in enumerate(info["chs"]):
            ch["loc"][:3] = self.positions[k]
            if self.kinds[k] != "eeg":
                ch["coil_type"] = _COILS[self.kinds[k]]
                ch["loc"][3:12] = self.axes[k].ravel()
        info["dev_head_t"] = mne.transforms.Transform("meg", "head")
        return info


# %% Electrodes


def _montage(name: str) -> dict[str, np.ndarray]:
    """Names and positions of a montage, in the template's MRI frame (m)."""
    montage = mne.channels.make_standard_montage(name)
    info = mne.create_info(montage.ch_names, 1.0, "eeg").set_montage(montage)
    positions = np.array([ch["loc"][:3] for ch in info["chs"]])
    in_mri = mne.transforms.apply_trans(template_trans(), positions)
    return dict(zip(montage.ch_names, in_mri, strict=True))


@cache
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """Names and positions of all electrodes, on the template's skin in its MRI frame (m)."""
    known = mne.channels.get_builtin_montages()
    standard = _montage(next(name for name in _STANDARD if name in known))
    dense = _montage(_DENSE)
    named = {name for cap in CAPS for name in cap_names(cap)}
    points = {name: rr for name, rr in standard.items() if name in named} | dense
    shells = template_shells()
    origin = shells["inner_skull"][0].mean(axis=0)
    rays = np.array(list(points.values())) - origin
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    rr, tris = shells["outer_skin"]
    return np.array(list(points)), on_surface(origin, rays, dict(rr=rr, tris=tris))


def draw_electrodes(anatomy: Anatomy, rng: np.random.Generator) -> Sensors:
    """Place electrodes all over a head.

    Parameters
    ----------
    anatomy : Anatomy
        The head.
    rng : numpy.random.Generator
        The generator, for a cap that sits a little askew.

    Returns
    -------
    sensors : Sensors
        The electrodes of the 10-10 system and 256 evenly spread ones, on the skin.
    """
    names, on_template = _candidates()
    rotation, shift = rigid_motion(rng, 0.04, 0.003)
    rays = anatomy.warp(on_template) - anatomy.origin
    positions = anatomy.on_skin(rays @ rotation.T + shift + anatomy.origin)
    return Sensors(names, np.full(len(names), "eeg"), positions, np.zeros((len(names), 3, 3)))


# %% Coils


def draw_coils(anatomy: Anatomy, rng: np.random.Generator) -> Sensors:
    """Place a head in an MEG helmet.

    Parameters
    ----------
    anatomy : Anatomy
        The head.
    rng : numpy.random.Generator
        The generator.

    Returns
    -------
    sensors : Sensors
        Either 102 sites with a magnetometer and two planar gradiometers each, or 150-275
        magnetometers alone, on the surface of a helmet which comes as near to the skin as
        3-10 mm. Half of the heads below adult size get a helmet of their own size.
    """
    helmet = str(rng.choice(list(_HELMETS)))
    planar = helmet != "CTF_275"
    n_sites = _N_PLANAR if planar else int(rng.integers(*_N_DENSE))
    rr, outward = _helmet_sites(helmet)
    sites = np.sort(farthest_points(rr, n_sites, int(rng.integers(len(rr)))))
    rr, outward = rr[sites], outward[sites]
    scale = rng.uniform(0.95, 1.05) * (min(anatomy.size, 1) if rng.random() < 0.5 else 1)
    rotation, shift = rigid_motion(rng, 0.06, 0.003)
    rr = _put_on(scale * rr @ rotation.T, shift, anatomy, rng.uniform(0.003, 0.01))
    axes = _axes(outward @ rotation.T)
    mags = Sensors(*_label("MAG", "", n_sites, "mag"), rr, axes)
    if not planar:
        return mags
    turned = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], axis=1)
    first = Sensors(*_label("GRAD", "a", n_sites, "grad"), rr, axes)
    return mags + first + Sensors(*_label("GRAD", "b", n_sites, "grad"), rr, turned)


@cache
def _helmet_sites(helmet: str) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the triangles of a helmet (m), around its middle, and their unit normals."""
    path = Path(mne.__file__).parent / "data" / "helmets" / f"{helmet}.fif.gz"
    surface = mne.read_bem_surfaces(path, verbose="error")[0]
    rr, outward = (surface[key][surface["tris"]].mean(axis=1) for key in ("rr", "nn"))
    kept = rr[:, 2] > _HELMETS[helmet]
    rr, outward = rr[kept], outward[kept]
    return rr - _sphere_center(rr), outward / np.linalg.norm(outward, axis=1, keepdims=True)


def _label(prefix: str, suffix: str, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Names and kinds of `n` coils."""
    return np.array([f"{prefix}{k:03d}{suffix}" for k in range(n)]), np.full(n, kind)


def _sphere_center(rr: np.ndarray) -> np.ndarray:
    """Centre of the sphere that fits points best."""
    system = np.column_stack([2 * rr, np.ones(len(rr))])
    return np.linalg.lstsq(system, (rr**2).sum(axis=1), rcond=None)[0][:3]


def _axes(outward: np.ndarray) -> np.ndarray:
    """Orthonormal rows: two tangents and the normal, shape (n, 3, 3)."""
    first = np.cross([0.1, 0.2, 1.0], outward)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(outward, first), outward], axis=1)


def _put_on(rr: np.ndarray, shift: np.ndarray, anatomy: Anatomy, gap: float) -> np.ndarray:
    """Lower a helmet around a head until its nearest sensor is `gap` from the skin.

    A helmet that gets stuck high above the head is replaced by wider ones.
    """
    skin = anatomy.shells["outer_skin"]["rr"][anatomy.up > 0]
    middle = _sphere_center(skin) + shift
    while True:
        low, high = -0.1, 0.2
        for _ in range(10):
            height = (low + high) / 2
            near = anatomy.gap(rr + middle + [0, 0, height]).min() < gap
            low, high = (height, high) if near else (low, height)
        placed = rr + middle + [0, 0, high]
        top = rr[:, 2] > 0.9 * rr[:, 2].max()
        if anatomy.gap(placed[top]).min() < _MAX_GAP:
            return placed
        rr = 1.03 * rr


def misplace(
    sensors: Sensors, anatomy: Anatomy, rng: np.random.Generator, sd: float = 0.002
) -> Sensors:
    """Move sensors as errors of digitization and coregistration do.

    Parameters
    ----------
    sensors : Sensors
        Electrodes and coils.
    anatomy : Anatomy
        The head the electrodes are moved onto.
    rng : numpy.random.Generator
        The generator.
    sd : float
        Standard deviation of the error of an electrode, and of the shift of the MEG helmet
        as a whole, in each direction (m). The helmet also turns, by about a degree, and
        coils that would come to lie in the head are kept 1 mm away.

    Returns
    -------
    sensors : Sensors
        The moved sensors.
    """
    moved, eeg = np.empty_like(sensors.positions), sensors.kinds == "eeg"
    electrodes, coils = sensors.positions[eeg], sensors.positions[~eeg]
    rotation, shift = rigid_motion(rng, 0.015, sd)
    moved[eeg] = anatomy.on_skin(electrodes + sd * rng.standard_normal(electrodes.shape))
    rays = (coils - anatomy.origin) @ rotation.T + shift
    into = np.maximum(_MIN_GAP - anatomy.gap(anatomy.origin + rays), 0)
    rays *= 1 + into[:, None] / np.linalg.norm(rays, axis=1, keepdims=True)
    moved[~eeg] = anatomy.origin + rays
    return sensors._replace(positions=moved, axes=sensors.axes @ rotation.T)
