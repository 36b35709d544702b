"""EEG forward solutions of a skull with another conductivity."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import verbose

from mne_invkit._mne import original_gain
from mne_invkit.heads.surfaces import fit_sphere

_RADII = 8.0 / 9.2, 8.5 / 9.2, 1.0  # of brain, skull and scalp (Rush & Driscoll 1969)
_SIGMAS = 0.3, 0.006, 0.3  # S/m
_N_DIPOLES, _DEPTHS = 500, (0.3, 0.95)  # distances from the center, in radii of the brain
_FEWEST = 8  # electrodes needed to fit a sphere


@verbose
def change_skull(forward: mne.Forward, factor: float, *, verbose=None) -> mne.Forward:
    r"""Change the conductivity of the skull in a forward solution, without computing a BEM.

    Parameters
    ----------
    forward : mne.Forward
        Forward solution with EEG channels. MEG channels stay as they are.
    factor : float
        Conductivity of the skull relative to that in `forward`.
    %(verbose)s

    Returns
    -------
    forward : mne.Forward
        A changed copy.

    Raises
    ------
    ValueError
        If `factor` is not positive, or `forward` has fewer than eight electrodes.

    See Also
    --------
    mne_kronbayes.learn_skull : Learns the factor from the data.

    Notes
    -----
    The skull weakens fine patterns of scalp potentials more than coarse ones. The patterns
    :math:`u_i` are the left singular vectors of the gain, against the average reference. How much
    `factor` changes each is computed in three concentric spheres around the electrodes, whose
    skull has a conductivity of 0.006 S/m in the gain :math:`S_1` and `factor` times that in
    :math:`S_f`. With the left singular vectors :math:`v_i` of :math:`S_1` in the same order, the
    gain is multiplied by

    .. math:: I + \sum_i (d_i - 1) u_i u_i^\top ,\quad
              d_i = \frac{v_i^\top S_f S_1^\top v_i}{v_i^\top S_1 S_1^\top v_i} .

    Test on the template head: the fields of two BEMs, whose skulls differ twofold in
    conductivity, differ by 9 %%. After this change of the one, they differ by 2 %%.

    References
    ----------
    Rush, S. & Driscoll, D. A. (1969). EEG electrode sensitivity - an application of reciprocity.
    IEEE Transactions on Biomedical Engineering 16, 15-22.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_invkit import change_skull, template_forward
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
            f"forward has {len(names)} electrodes, and at least {_FEWEST} are needed to fit a "
            "sphere to them. The skull does not matter for MEG: use such a forward as it is."
        )
    rows = [forward["sol"]["row_names"].index(name) for name in names]
    positions = np.array([forward["info"]["chs"][n]["loc"][:3] for n in eeg])
    patterns = _patterns(original_gain(forward)[rows])
    weakened = patterns * (_weakening(positions, factor) - 1)
    changed = forward.copy()
    for gain in (changed["sol"]["data"], original_gain(changed)):
        gain[rows] += weakened @ (patterns.T @ gain[rows])
    return changed


def _patterns(gain: np.ndarray) -> np.ndarray:
    """Left singular vectors of the gain against the average reference, one column each."""
    gain = gain - gain.mean(axis=0)
    return np.linalg.eigh(gain @ gain.T)[1][:, :0:-1]  # without that of value 0, the reference


def _weakening(positions: np.ndarray, factor: float) -> np.ndarray:
    """Change of each pattern at electrodes on a sphere, shape (n_electrodes - 1,)."""
    center, radius = fit_sphere(positions)
    montage = mne.channels.make_dig_montage(
        {str(n): position for n, position in enumerate(positions)}, coord_frame="head"
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
        return mne.make_forward_solution(info, None, src, sphere, meg=False)["sol"]["data"]

    given, other = gain(_SIGMAS[1]), gain(factor * _SIGMAS[1])
    patterns = _patterns(given)
    given, other = patterns.T @ given, patterns.T @ other
    return (given * other).sum(axis=1) / (given**2).sum(axis=1)
