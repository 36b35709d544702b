"""Sensors around a head: the electrodes of many caps, and MEG sensors on helmets of MNE."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np

from mne_invkit._docs import fill_doc
from mne_invkit._mne import COIL_TYPES
from mne_invkit.heads.surfaces import fit_sphere, on_surface, template_shells
from mne_invkit.heads.template import template_trans
from mne_invkit.population.montages import CAPS, cap_names, farthest_points
from mne_invkit.population.shape import Anatomy, rigid_motion

_STANDARD = ("colin27_1005", "standard_1005")  # one montage: its name from MNE 1.13 on, and before
_DENSE = "GSN-HydroCel-256"
_HELMETS = {"306m": -0.08, "122m": -0.08, "CTF_275": -0.04}  # height of the lowest site (m)
_N_PLANAR = 102  # number of sites with planar gradiometers
_N_DENSE = (150, 276)  # smallest and largest number of sites without them, plus one
_MIN_GAP = 0.001  # m, smallest distance of a coil from the skin
_MAX_GAP = 0.015  # m, largest distance of the skin from the top of the helmet


class Sensors(NamedTuple):
    """Electrodes and MEG sensors.

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
        """Join two sets of sensors."""
        return Sensors(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def to_info(self) -> mne.Info:
        """Make an Info with these channels, whose MEG device frame is the head frame."""
        info = mne.create_info(self.names.tolist(), 1000.0, self.kinds.tolist())
        for k, ch in enumerate(info["chs"]):
            ch["loc"][:3] = self.positions[k]
            if self.kinds[k] != "eeg":
                ch["coil_type"] = COIL_TYPES[self.kinds[k]]
                ch["loc"][3:12] = self.axes[k].ravel()
        info["dev_head_t"] = mne.transforms.Transform("meg", "head")
        return info


# %% Electrodes


def _montage(name: str) -> dict[str, np.ndarray]:
    """Names and positions of the electrodes of a montage, in the template's MRI frame (m)."""
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


@fill_doc
def draw_electrodes(anatomy: Anatomy, rng: np.random.Generator) -> Sensors:
    """Place electrodes all over a head.

    Parameters
    ----------
    %(anatomy)s
    rng : numpy.random.Generator
        The generator, which also moves and turns the cap a little.

    Returns
    -------
    sensors : Sensors
        Electrodes on the skin: those of the 10-10 system, and 256 evenly spread ones.
    """
    names, on_template = _candidates()
    rotation, shift = rigid_motion(rng, 0.04, 0.003)
    rays = anatomy.warp(on_template) - anatomy.origin
    positions = anatomy.on_skin(rays @ rotation.T + shift + anatomy.origin)
    return Sensors(names, np.full(len(names), "eeg"), positions, np.zeros((len(names), 3, 3)))


# %% Coils


@fill_doc
def draw_coils(anatomy: Anatomy, rng: np.random.Generator) -> Sensors:
    """Place a head in an MEG helmet.

    Parameters
    ----------
    %(anatomy)s
    %(generator)s

    Returns
    -------
    sensors : Sensors
        MEG sensors on the surface of a helmet: either 102 sites with one magnetometer and two
        planar gradiometers each, or 150 to 275 magnetometers alone. The nearest sensor is 3 to
        10 mm from the skin. Half of the heads below adult size get a helmet of their size.
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
    """Sites on a helmet: positions relative to its middle (m) and outward unit normals."""
    path = Path(mne.__file__).parent / "data" / "helmets" / f"{helmet}.fif.gz"
    surface = mne.read_bem_surfaces(path, verbose="error")[0]
    rr, outward = (surface[key][surface["tris"]].mean(axis=1) for key in ("rr", "nn"))
    kept = rr[:, 2] > _HELMETS[helmet]
    rr, outward = rr[kept], outward[kept]
    return rr - fit_sphere(rr)[0], outward / np.linalg.norm(outward, axis=1, keepdims=True)


def _label(prefix: str, suffix: str, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Names and kinds of `n` coils."""
    return np.array([f"{prefix}{k:03d}{suffix}" for k in range(n)]), np.full(n, kind)


def _axes(outward: np.ndarray) -> np.ndarray:
    """Axes of coils: two tangents and the normal as orthonormal rows, shape (n, 3, 3)."""
    first = np.cross([0.1, 0.2, 1.0], outward)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(outward, first), outward], axis=1)


def _put_on(rr: np.ndarray, shift: np.ndarray, anatomy: Anatomy, gap: float) -> np.ndarray:
    """Lower a helmet onto a head until its nearest sensor is `gap` from the skin.

    A helmet that is too narrow to come down is made wider.
    """
    skin = anatomy.shells["outer_skin"]["rr"][anatomy.up > 0]
    middle = fit_sphere(skin)[0] + shift
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


@fill_doc
def misplace(
    sensors: Sensors, anatomy: Anatomy, rng: np.random.Generator, sd: float = 0.002
) -> Sensors:
    """Move sensors by errors of digitization and coregistration.

    Parameters
    ----------
    sensors : Sensors
        Electrodes and coils.
    anatomy : Anatomy
        The head whose skin the electrodes stay on.
    %(generator)s
    sd : float
        Standard deviation along each axis (m) of the error of an electrode, and of the shift of
        the MEG helmet. The helmet also turns by about a degree. Coils that would lie in the head
        are kept 1 mm outside.

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
