"""What another conductivity of the skull does to a forward solution of EEG."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import verbose

_RADII = 8.0 / 9.2, 8.5 / 9.2, 1.0  # brain, skull, scalp (Rush & Driscoll 1969)
_SIGMAS = 0.3, 0.006, 0.3  # S/m
_N_DIPOLES, _DEPTHS = 500, (0.3, 0.95)  # of the brain's radius
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
    A skull weakens each pattern of potentials by a factor of its own, fine ones more than coarse
    ones, whatever the sources. The patterns are the left singular vectors of the gain, against the
    average reference. What `factor` does to each is taken from that of the same rank in three
    concentric spheres around the electrodes, whose skull conducts 0.006 S/m or `factor` times that:
    with :math:`u_i` and :math:`v_i` of the gain and of the spheres' gain :math:`S_1`, the gain is
    multiplied by

    .. math:: I + \sum_i (d_i - 1) u_i u_i^\top ,\quad
              d_i = \frac{v_i^\top S_f S_1^\top v_i}{v_i^\top S_1 S_1^\top v_i} .

    On the template head, fields of a skull that conducts twice as well differ by 9 %% from those of
    its own BEM before, and by 2 %% after.

    References
    ----------
    Rush, S. & Driscoll, D. A. (1969). EEG electrode sensitivity - an application of reciprocity.
    IEEE Transactions on Biomedical Engineering 16, 15-22.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from mne_invkit import template_forward
    >>> from mne_invkit import change_skull
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
    rows = [forward["sol"]["row_names"].index(name) for name in names]
    places = np.array([forward["info"]["chs"][n]["loc"][:3] for n in eeg])
    patterns = _patterns(forward["_orig_sol"][rows])
    weakened = patterns * (_weakening(places, factor) - 1)
    changed = forward.copy()
    for gain in (changed["sol"]["data"], changed["_orig_sol"]):
        gain[rows] += weakened @ (patterns.T @ gain[rows])
    return changed


def _patterns(gain: np.ndarray) -> np.ndarray:
    """Left singular vectors, against the average reference, one fewer than electrodes."""
    gain = gain - gain.mean(axis=0)
    return np.linalg.eigh(gain @ gain.T)[1][:, :0:-1]  # the last is the reference itself


def _weakening(places: np.ndarray, factor: float) -> np.ndarray:
    """How each pattern at electrodes on a sphere is weakened, shape (n_electrodes - 1,)."""
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
        return mne.make_forward_solution(info, None, src, sphere, meg=False)["sol"]["data"]

    given, other = gain(_SIGMAS[1]), gain(factor * _SIGMAS[1])
    patterns = _patterns(given)
    given, other = patterns.T @ given, patterns.T @ other
    return (given * other).sum(axis=1) / (given**2).sum(axis=1)
