"""What another conductivity of the skull does to a forward solution of EEG."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import verbose

_RADII = 8.0 / 9.2, 8.5 / 9.2, 1.0  # brain, skull, scalp (Rush & Driscoll 1969)
_SIGMAS = 0.3, 0.006, 0.3  # S/m
_N_DIPOLES, _DEPTHS = 500, (0.3, 0.95)  # of the brain's radius
_RIDGE = 1e-6  # of the mean power of a channel
_FEWEST = 8  # electrodes that tell where the head is


@verbose
def change_skull(forward: mne.Forward, factor: float, *, verbose=None) -> mne.Forward:
    r"""Forward solution of a skull that conducts better or worse, without its BEM.

    Parameters
    ----------
    forward : mne.Forward
        Forward solution with EEG channels; that of MEG is left as it is.
    factor : float
        How many times better the skull conducts than in `forward`.
    %(verbose)s

    Returns
    -------
    forward : mne.Forward
        A changed copy.

    Raises
    ------
    ValueError
        If the factor is not positive, or `forward` has fewer than eight electrodes.

    See Also
    --------
    mne_kronbayes.learn_skull : Learns the factor from the data.

    Notes
    -----
    A skull acts on potentials much like a filter in space, whatever the source. The filter is taken
    from three concentric spheres around the electrodes: with the gains :math:`G_1` and
    :math:`G_f` of 500 dipoles in them for a conductivity of 0.006 S/m and for `factor` times that,
    the gain of `forward` is multiplied by

    .. math:: F = I + (G_f - G_1) G_1^\top (G_1 G_1^\top + \epsilon I)^{-1} .

    On the template head, fields of a skull that conducts twice as well differ by 9 %% from those of
    its own BEM before, and by 3 %% after.

    References
    ----------
    Rush, S. & Driscoll, D. A. (1969). EEG electrode sensitivity - an application of reciprocity.
    IEEE Transactions on Biomedical Engineering 16, 15-22.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_invkit.heads import template_forward
    >>> from mne_invkit.skull import change_skull
    >>> montage = mne.channels.make_standard_montage("biosemi32")
    >>> info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    >>> forward = template_forward(info, spacing="ico3", verbose=False)
    >>> better = change_skull(forward, 2.0, verbose=False)
    >>> largest = [np.abs(f["sol"]["data"]).max() for f in (forward, better)]
    >>> bool(largest[1] > largest[0])
    True
    """
    if not 0 < factor < np.inf:
        raise ValueError(f"factor must be a positive number, got {factor}.")
    eeg = mne.pick_types(forward["info"], meg=False, eeg=True, exclude=[])
    names = [forward["info"]["ch_names"][n] for n in eeg]
    if len(names) < _FEWEST:
        raise ValueError(
            f"The forward solution has {len(names)} electrodes, fewer than {_FEWEST}: the skull "
            "cannot be told from the head's size, and it does not matter for MEG."
        )
    places = np.array([forward["info"]["chs"][n]["loc"][:3] for n in eeg])
    skull = _skull_filter(places, factor)
    changed = forward.copy()
    rows = [changed["sol"]["row_names"].index(name) for name in names]
    for gain in (changed["sol"]["data"], changed["_orig_sol"]):
        gain[rows] = skull @ gain[rows]
    return changed


def _skull_filter(places: np.ndarray, factor: float) -> np.ndarray:
    """What the factor does to potentials at electrodes, shape (n_electrodes, n_electrodes)."""
    found = np.linalg.lstsq(np.c_[2 * places, np.ones(len(places))], (places**2).sum(1), rcond=None)
    center = found[0][:3]  # |x|^2 = 2 x.c + r^2 - |c|^2
    radius = np.sqrt(found[0][3] + center @ center)
    montage = mne.channels.make_dig_montage(
        {str(n): place for n, place in enumerate(places)}, coord_frame="head"
    )
    info = mne.create_info(montage.ch_names, 1.0, "eeg").set_montage(montage)

    rng = np.random.default_rng(0)
    directions = rng.standard_normal((_N_DIPOLES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    depths = rng.uniform(*_DEPTHS, (_N_DIPOLES, 1)) * _RADII[0] * radius
    src = mne.setup_volume_source_space(pos=dict(rr=center + depths * directions, nn=directions))

    def gain(skull: float) -> np.ndarray:
        sigmas = _SIGMAS[0], skull, _SIGMAS[2]
        sphere = mne.make_sphere_model(center, radius, relative_radii=_RADII, sigmas=sigmas)
        forward = mne.make_forward_solution(info, None, src, sphere, meg=False)
        return forward["sol"]["data"] - forward["sol"]["data"].mean(axis=0)

    given = gain(_SIGMAS[1])
    power = given @ given.T
    power += _RIDGE * np.trace(power) / len(places) * np.eye(len(places))
    change = (gain(factor * _SIGMAS[1]) - given) @ given.T
    return np.eye(len(places)) + np.linalg.solve(power, change.T).T
