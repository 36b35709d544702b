"""Forward models of random heads: gains as arrays, and as forward solutions of MNE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mne
import numpy as np
from mne.io.constants import FIFF
from mne.surface import complete_surface_info

from mne_invkit.population.sensors import Sensors
from mne_invkit.population.shape import Anatomy

if TYPE_CHECKING:
    from mne_invkit.population.head import Head

_LAYERS = dict(  # from the outside inwards, as MNE orders them
    outer_skin=FIFF.FIFFV_BEM_SURF_ID_HEAD,
    outer_skull=FIFF.FIFFV_BEM_SURF_ID_SKULL,
    inner_skull=FIFF.FIFFV_BEM_SURF_ID_BRAIN,
)


def compute_gain(
    anatomy: Anatomy,
    conductivity: tuple[float, float, float],
    sensors: Sensors,
    positions: np.ndarray,
) -> np.ndarray:
    """Compute the gain of free sources by the boundary-element method of MNE.

    Parameters
    ----------
    anatomy : Anatomy
        The head.
    conductivity : tuple of float
        Conductivities of brain, skull and scalp in S/m.
    sensors : Sensors
        The sensors.
    positions : ndarray, shape (n_sources, 3)
        Sources in the head frame (m), inside the inner skull.

    Returns
    -------
    gain : ndarray of float32, shape (n_sensors, 3 * n_sources)
        Gain in V/(A m), T/(A m) or T/m/(A m).
    """
    shells, sigmas = anatomy.shells, dict(zip(reversed(_LAYERS), conductivity, strict=True))
    surfaces = [
        complete_surface_info(
            shells[name]
            | dict(
                id=number,
                sigma=sigmas[name],
                coord_frame=FIFF.FIFFV_COORD_MRI,
                np=len(anatomy.directions),
                ntri=len(anatomy.tris),
            ),
            verbose="error",
        )
        for name, number in _LAYERS.items()
    ]
    bem = mne.make_bem_solution(surfaces, verbose="error")
    forward = _discrete_forward(sensors, positions, None, bem)
    return forward["sol"]["data"].astype(np.float32)


def _discrete_forward(sensors, positions, normals, model, on_inside="raise") -> mne.Forward:
    """Forward solution of free sources at any positions, channels in the order of `sensors`."""
    if normals is None:
        normals = np.tile([0.0, 0.0, 1.0], (len(positions), 1))
    src = mne.setup_volume_source_space(pos=dict(rr=positions, nn=normals), verbose="error")
    forward = mne.make_forward_solution(
        sensors.to_info(), None, src, model, mindist=0.0, on_inside=on_inside, verbose="error"
    )
    if forward["nsource"] != len(positions):
        raise RuntimeError("Some sources are not inside the inner skull.")
    names = sensors.names.tolist()  # of MNE, MEG comes first
    return mne.pick_channels_forward(forward, names, ordered=True, copy=False, verbose="error")


def head_forward(head: Head, *, data: bool = False) -> mne.Forward:
    """Give a head to MNE, so that any solver can be run on it.

    Parameters
    ----------
    head : Head
        The head.
    data : bool
        Take the model that makes the data, and not the one for the inverse.

    Returns
    -------
    forward : mne.Forward
        Forward solution of discrete sources with free orientation, columns along x, y and z of
        the head frame. The normals of a cortex are those of its source space; where there are
        none, they point up. A head does not keep the directions of its coils, so all of them
        point up, too.

    Examples
    --------
    >>> from mne_invkit.population.forward import head_forward
    >>> from mne_invkit.population.draw import make_head
    >>> head = make_head(0, sources="volume", meg=False)  # doctest: +SKIP
    >>> head_forward(head)  # doctest: +SKIP
    <Forward | MEG channels: 0 | EEG channels: 333 | Source space: Discrete with 4225 ...>
    """
    axes = np.tile(np.eye(3), (len(head.names), 1, 1))
    sensors = Sensors(head.names, head.kinds, head.sensors, axes)
    center = head.positions.mean(axis=0)
    radius = 2 * np.linalg.norm(head.positions - center, axis=1).max()
    sphere = mne.make_sphere_model(center, radius, verbose="error")  # holds all sources
    forward = _discrete_forward(sensors, head.positions, head.normals, sphere, "ignore")
    gain = np.asarray(head.data_gain if data else head.gain, float)
    forward["sol"]["data"], forward["_orig_sol"] = gain, gain.copy()
    return forward
