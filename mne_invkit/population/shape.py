"""Random head shapes around the template: shells, conductivities and source spaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import mne
import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mne_invkit._docs import fill_doc
from mne_invkit.heads.surfaces import on_surface, radii, template_shells
from mne_invkit.heads.template import template_fiducials

SIZE = (0.62, 1.02)
"""Smallest and largest size of a head relative to the template: a newborn and a large adult."""
SKULL = (0.0025, 0.009)
"""Smallest and largest thickness of the skull along a ray from the middle of the brain (m)."""
SCALP = (0.0025, 0.008)
"""Smallest and largest thickness of the scalp above the base of the head (m)."""

_NAMES = ("inner_skull", "outer_skull", "outer_skin")
_N_WAVES = 128  # Fourier features of a random field
_DEPTH = 0.004  # m, smallest depth of a location: boundary elements are inexact near the skull
_OTHER_DEPTH = 0.003  # m, smallest depth in other heads around the same brain
_BASE = (-0.2, -0.8)  # heights on the unit sphere between which the skin thickens to the neck


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Shape of one head in its own head frame.

    Attributes
    ----------
    size : float
        Overall scale relative to the template.
    origin : ndarray, shape (3,)
        Middle of the inner skull (m).
    directions : ndarray, shape (642, 3)
        Unit vectors from the origin to the vertices of all shells.
    tris : ndarray, shape (1280, 3)
        Triangles of each shell.
    inner, skull, scalp : ndarray, shape (642,)
        Distance of the inner skull from the origin, thickness of the skull and of the scalp,
        all along the directions (m).
    up : ndarray, shape (642,)
        Height of the directions in the template, on the unit sphere.
    warp : callable
        Function that maps points (n, 3) from the template's MRI frame to this head's frame.
    """

    size: float
    origin: np.ndarray
    directions: np.ndarray
    tris: np.ndarray
    inner: np.ndarray
    skull: np.ndarray
    scalp: np.ndarray
    up: np.ndarray
    warp: Callable[[np.ndarray], np.ndarray]

    @property
    def shells(self) -> dict[str, dict]:
        """Inner skull, outer skull and outer skin as dicts of ``rr`` (m) and ``tris``."""
        distances = np.cumsum([self.inner, self.skull, self.scalp], axis=0)
        return {
            name: dict(rr=self.origin + r[:, None] * self.directions, tris=self.tris)
            for name, r in zip(_NAMES, distances, strict=True)
        }

    def on_skin(self, points: np.ndarray) -> np.ndarray:
        """Move points along rays from the origin onto the skin, shape (n, 3)."""
        rays = points - self.origin
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return on_surface(self.origin, rays, self.shells["outer_skin"])

    def gap(self, points: np.ndarray) -> np.ndarray:
        """Distance of points outside the skin, along rays from the origin (m), shape (n,)."""
        rays = points - self.origin
        distance = np.linalg.norm(rays, axis=1)
        skin = self.shells["outer_skin"]
        return distance - radii(self.origin, rays / distance[:, None], skin["rr"], skin["tris"])

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Distance of points from the inner skull (m), negative outside it, shape (n,)."""
        surface = self.shells["inner_skull"]
        rays = points - self.origin
        distance = np.linalg.norm(rays, axis=1)
        inside = distance < radii(self.origin, rays / distance[:, None], *surface.values())
        nearest, _ = cKDTree(_sample(**surface)).query(points)
        return np.where(inside, nearest, -nearest)


def _sample(rr: np.ndarray, tris: np.ndarray, n: int = 6) -> np.ndarray:
    """Points all over a surface, `n` intervals per edge."""
    weights = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    return np.einsum("wk,tkd->twd", weights, rr[tris]).reshape(-1, 3)


# %% Shapes


@fill_doc
def smooth_field(
    rng: np.random.Generator, scale: float, n_components: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Draw a smooth random function of position.

    Parameters
    ----------
    %(generator)s
    scale : float
        Standard deviation of the Gaussian covariance, in the unit of the positions.
    n_components : int | None
        Number of independent components; None for a scalar field.

    Returns
    -------
    field : callable
        Function from positions (n, 3) to values (n,) or (n, n_components). It is a Gaussian
        process of variance 1 with the covariance ``exp(-d ** 2 / (2 * scale ** 2))`` at the
        distance d, made of random Fourier features (Rahimi and Recht, 2007).
    """
    n = n_components or 1
    waves = rng.standard_normal((n, 3, _N_WAVES)) / scale
    phases = rng.uniform(0, 2 * np.pi, (n, 1, _N_WAVES))

    def field(points):
        values = np.cos(points @ waves + phases).sum(axis=2).T * np.sqrt(2 / _N_WAVES)
        return values[:, 0] if n_components is None else values

    return field


@cache
def _template() -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of the template's inner skull in the MRI frame (m)."""
    return template_shells()["inner_skull"]


def _thickness(rng, directions, up, size) -> tuple[np.ndarray, np.ndarray]:
    """Draw the thickness of skull and scalp along the directions (m)."""
    skull = rng.uniform(0.0035, 0.008) * np.sqrt(size)
    scalp = rng.uniform(0.003, 0.008) * np.sqrt(size)
    skull = skull * np.exp(0.25 * smooth_field(rng, 0.6)(directions))
    scalp = scalp * np.exp(0.2 * smooth_field(rng, 0.6)(directions))
    neck = rng.uniform(0, 0.015) * np.clip((up - _BASE[0]) / (_BASE[1] - _BASE[0]), 0, 1)
    return np.clip(skull, *SKULL), np.clip(scalp, *SCALP) + neck


@fill_doc
def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw the shape of a head.

    Parameters
    ----------
    %(generator)s

    Returns
    -------
    anatomy : Anatomy
        A head whose inner skull is that of the template, deformed smoothly by a few millimeters
        and scaled, along each axis by up to 7 % more or less. Around it lie a skull and a scalp
        of random thickness. The head frame is that of its own fiducials, which were digitized
        with an error of about 2 mm.
    """
    size = SIZE[1] - (SIZE[1] - SIZE[0]) * rng.random() ** 2  # one in three below 0.85
    axes = size * rng.uniform(0.93, 1.07, 3)
    displacement = smooth_field(rng, rng.uniform(0.045, 0.07), 3)
    amplitude = rng.uniform(0.001, 0.0035)
    rr, tris = _template()
    middle = rr.mean(axis=0)

    def deform(points):
        return (points - middle + amplitude * displacement(points)) * axes

    inner = deform(rr)
    origin = inner.mean(axis=0)
    distance = np.linalg.norm(inner - origin, axis=1)
    directions = (inner - origin) / distance[:, None]
    up = (rr - middle)[:, 2] / np.linalg.norm(rr - middle, axis=1)
    skull, scalp = _thickness(rng, directions, up, size)
    anatomy = Anatomy(size, origin, directions, tris, distance, skull, scalp, up, deform)
    lpa, nasion, rpa = template_fiducials()
    fiducials = anatomy.on_skin(deform(np.array([nasion, lpa, rpa])))
    fiducials += 0.002 * rng.standard_normal((3, 3))
    to_head = mne.transforms.get_ras_to_neuromag_trans(*fiducials)
    return replace(
        anatomy,
        origin=mne.transforms.apply_trans(to_head, origin),
        directions=directions @ to_head[:3, :3].T,
        warp=lambda points: mne.transforms.apply_trans(to_head, deform(points)),
    )


@fill_doc
def perturb_anatomy(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Draw a head that differs from another by typical errors of a head model.

    Parameters
    ----------
    anatomy : Anatomy
        A head.
    %(generator)s

    Returns
    -------
    anatomy : Anatomy
        A head whose inner skull is displaced smoothly by 1 to 2 mm (root mean square), and whose
        skull and scalp are about 15 % thicker or thinner.
    """
    shift = rng.uniform(0.001, 0.002) * smooth_field(rng, 0.6)(anatomy.directions)
    skull, scalp = (np.exp(0.15 * smooth_field(rng, 0.6)(anatomy.directions)) for _ in range(2))
    return replace(
        anatomy,
        inner=anatomy.inner + np.clip(shift, -0.004, 0.004),
        skull=np.clip(anatomy.skull * skull, *SKULL),
        scalp=np.maximum(anatomy.scalp * scalp, SCALP[0]),
    )


@fill_doc
def draw_conductivity(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the conductivities of a head.

    Parameters
    ----------
    %(generator)s

    Returns
    -------
    conductivity : tuple of float
        Conductivities in S/m: brain (0.25 to 0.4), skull (15 to 80 times lower than the brain)
        and scalp (0.2 to 0.5).
    """
    brain, scalp = rng.uniform(0.25, 0.4), rng.uniform(0.2, 0.5)
    return brain, brain / np.exp(rng.uniform(np.log(15), np.log(80))), scalp


# %% Source spaces


@fill_doc
def draw_grid(
    anatomies: Sequence[Anatomy], rng: np.random.Generator, spacing: float = 0.007
) -> np.ndarray:
    """Draw the origin of a regular grid inside the skull.

    Parameters
    ----------
    %(anatomies)s
    rng : numpy.random.Generator
        The generator, for the origin of the grid.
    spacing : float
        Distance between neighbors (m).

    Returns
    -------
    positions : ndarray, shape (n_locations, 3)
        Locations in the head frame (m), at least 4 mm inside the inner skull of the first head
        and 3 mm inside those of the others.
    """
    first, *others = anatomies
    rr = first.shells["inner_skull"]["rr"]
    start = rr.min(axis=0) + rng.uniform(0, spacing, 3)
    axes = [np.arange(a, b, spacing) for a, b in zip(start, rr.max(axis=0), strict=True)]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    positions = positions[first.depth(positions) >= _DEPTH]
    for other in others:
        positions = positions[other.depth(positions) >= _OTHER_DEPTH]
    return positions


@fill_doc
def warp_cortex(
    src: mne.SourceSpaces, anatomies: Sequence[Anatomy]
) -> tuple[np.ndarray, np.ndarray]:
    """Warp the cortex of the template into a head.

    Parameters
    ----------
    src : mne.SourceSpaces
        Surface source space of the template, in its MRI frame.
    %(anatomies)s

    Returns
    -------
    positions : ndarray, shape (n_locations, 3)
        Locations in the head frame (m). Those too near to an inner skull are pushed inwards, to
        the depths of :func:`draw_grid`.
    normals : ndarray, shape (n_locations, 3)
        Outward unit normals of the warped surface.
    """
    surfaces = [(anatomies[0].warp(s["rr"]), s) for s in src]
    positions = np.concatenate([rr[s["vertno"]] for rr, s in surfaces])
    normals = np.concatenate([_normals(rr, s["tris"])[s["vertno"]] for rr, s in surfaces])
    for k, anatomy in enumerate(anatomies):
        least, todo = _OTHER_DEPTH if k else _DEPTH, np.arange(len(positions))
        while len(todo):
            missing = least - anatomy.depth(positions[todo])
            todo, missing = todo[missing > 0], missing[missing > 0]
            inward = anatomy.origin - positions[todo]
            inward /= np.linalg.norm(inward, axis=1, keepdims=True)
            positions[todo] += (missing[:, None] + 1e-4) * inward
    return positions, normals


def _normals(rr: np.ndarray, tris: np.ndarray) -> np.ndarray:
    """Unit normals at the vertices of a surface: means over triangles, weighted by area."""
    a, b, c = rr[tris].transpose(1, 0, 2)
    normals = np.zeros_like(rr)
    for corner in tris.T:
        np.add.at(normals, corner, np.cross(b - a, c - a))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


@fill_doc
def rigid_motion(rng: np.random.Generator, angle: float, shift: float) -> mne.transforms.Transform:
    """Draw a small rotation and shift.

    Parameters
    ----------
    %(generator)s
    angle, shift : float
        Standard deviations of the rotation about each axis (radian) and of the shift (m).

    Returns
    -------
    rotation : ndarray, shape (3, 3)
        The rotation.
    shift : ndarray, shape (3,)
        The shift.
    """
    rotation = Rotation.from_rotvec(angle * rng.standard_normal(3)).as_matrix()
    return rotation, shift * rng.standard_normal(3)
