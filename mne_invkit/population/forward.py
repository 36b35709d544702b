"""Forward models of random heads, as arrays and as forward solutions of MNE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mne
import numpy as np
from mne.surface import complete_surface_info

from mne_invkit._docs import fill_doc
from mne_invkit._mne import SURFACES, set_gain, surface_dict
from mne_invkit.population.sensors import Sensors
from mne_invkit.population.shape import Anatomy

if TYPE_CHECKING:
    from mne_invkit.population.head import Head


@fill_doc
def compute_gain(
    anatomy: Anatomy,
    conductivity: tuple[float, float, float],
    sensors: Sensors,
    positions: np.ndarray,
) -> np.ndarray:
    """Compute a gain with free orientation by the boundary-element method of MNE.

    Parameters
    ----------
    %(anatomy)s
    conductivity : tuple of float
        Conductivities of brain, skull and scalp in S/m.
    sensors : Sensors
        The sensors.
    positions : ndarray, shape (n_locations, 3)
        Locations in the head frame (m), inside the inner skull.

    Returns
    -------
    gain : ndarray of float32, shape (n_sensors, 3 * n_locations)
        Gain in V/(A m), T/(A m) or T/m/(A m).
    """
    shells, sigmas = anatomy.shells, dict(zip(reversed(SURFACES), conductivity, strict=True))
    surfaces = [
        complete_surface_info(
            surface_dict(name, **shells[name], conductivity=sigmas[name]), verbose="error"
        )
        for name in SURFACES
    ]
    bem = mne.make_bem_solution(surfaces, verbose="error")
    forward = _discrete_forward(sensors, positions, None, bem)
    return forward["sol"]["data"].astype(np.float32)


def _discrete_forward(sensors, positions, normals, model, on_inside="raise") -> mne.Forward:
    """Forward solution with free orientation, channels in the order of `sensors`."""
    if normals is None:
        normals = np.tile([0.0, 0.0, 1.0], (len(positions), 1))
    src = mne.setup_volume_source_space(pos=dict(rr=positions, nn=normals), verbose="error")
    forward = mne.make_forward_solution(
        sensors.to_info(), None, src, model, mindist=0.0, on_inside=on_inside, verbose="error"
    )
    if forward["nsource"] != len(positions):
        raise RuntimeError("Some locations are not inside the inner skull.")
    names = sensors.names.tolist()  # MNE puts MEG first
    return mne.pick_channels_forward(forward, names, ordered=True, copy=False, verbose="error")


def head_forward(head: Head, *, data: bool = False) -> mne.Forward:
    """Turn a head into a forward solution of MNE, for use with any solver.

    Parameters
    ----------
    head : Head
        The head.
    data : bool
        Whether to take the model that makes the data instead of the one for the inverse solution.

    Returns
    -------
    forward : mne.Forward
        Forward solution of a discrete source space with free orientation. Its columns are the
        components along x, y and z of the head frame. The normals are those of the cortex; in a
        volume they point up. A head does not store the directions of its coils, so in the info
        they all point up.

    Examples
    --------
    >>> from mne_invkit.population.draw import make_head
    >>> from mne_invkit.population.forward import head_forward
    >>> head = make_head(0, src="volume", meg=False)  # doctest: +SKIP
    >>> head_forward(head)  # doctest: +SKIP
    <Forward | MEG channels: 0 | EEG channels: 333 | Source space: Discrete with 4225 ...>
    """
    axes = np.tile(np.eye(3), (len(head.names), 1, 1))
    sensors = Sensors(head.names, head.kinds, head.sensors, axes)
    center = head.positions.mean(axis=0)
    radius = 2 * np.linalg.norm(head.positions - center, axis=1).max()
    sphere = mne.make_sphere_model(center, radius, verbose="error")  # around all locations
    forward = _discrete_forward(sensors, head.positions, head.normals, sphere, "ignore")
    set_gain(forward, np.asarray(head.data_gain if data else head.gain, float))
    return forward
