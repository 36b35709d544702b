"""The metrics of :mod:`mne_invkit.metrics.arrays` on MNE source estimates."""

from __future__ import annotations

import mne
import numpy as np

from mne_invkit.metrics.arrays import (
    amplitude_error,
    find_peaks,
    localization_error,
    normalized_emd,
    source_auc,
    source_strength,
    spatial_dispersion,
    time_course_error,
)

_STCS = (mne.SourceEstimate, mne.VectorSourceEstimate, mne.VolSourceEstimate)
_STCS += (mne.VolVectorSourceEstimate, mne.MixedSourceEstimate, mne.MixedVectorSourceEstimate)


def source_positions(src: mne.SourceSpaces) -> np.ndarray:
    """Positions of the sources in use.

    Parameters
    ----------
    src : mne.SourceSpaces
        The source space.

    Returns
    -------
    positions : ndarray, shape (n_sources, 3)
        Positions in m, in the frame of `src`.
    """
    return np.concatenate([s["rr"][s["vertno"]] for s in src])


def dense_data(stc, src: mne.SourceSpaces) -> np.ndarray:
    """Amplitudes of a source estimate on all sources in use.

    Parameters
    ----------
    stc : source estimate
        Any of the six classes of MNE; sparse estimates are filled with zeros.
    src : mne.SourceSpaces
        The source space, such as ``forward["src"]``.

    Returns
    -------
    data : ndarray, shape (n_sources, n_times) | (n_sources, 3, n_times)
        Amplitudes in the order of :func:`source_positions`.
    """
    if not isinstance(stc, _STCS):
        raise TypeError(f"Expected a source estimate of MNE, got {type(stc).__name__}.")
    if not isinstance(src, mne.SourceSpaces):
        raise TypeError(f'src must be mne.SourceSpaces, got {type(src).__name__}: forward["src"].')
    if len(stc.vertices) != len(src):
        raise ValueError(
            f"stc covers {len(stc.vertices)} source spaces and src {len(src)}: pass the "
            'forward["src"] it was estimated with.'
        )
    rows, offset = [], 0
    for vertices, space in zip(stc.vertices, src, strict=True):
        if not np.isin(vertices, space["vertno"]).all():
            raise ValueError(
                "stc has vertices that src does not use: pass the source space that holds both "
                'stcs, such as the forward["src"] they come from.'
            )
        rows.append(offset + np.searchsorted(space["vertno"], vertices))
        offset += space["nuse"]
    data = np.zeros((offset, *stc.data.shape[1:]), stc.data.dtype)
    data[np.concatenate(rows)] = stc.data
    return data


def score(truth, stc, src: mne.SourceSpaces, *, radius: float = 0.02) -> dict[str, float]:
    """All metrics of an estimate.

    Parameters
    ----------
    truth, stc : source estimate
        True and estimated sources, each of any of MNE's six classes, over the same times.
    src : mne.SourceSpaces
        Source space that holds the vertices of both, such as ``forward["src"]``.
    radius : float
        Distance (m) within which only the strongest source is a peak.

    Returns
    -------
    scores : dict
        ``localization_error`` and ``spatial_dispersion`` (around the peaks of the truth) in m,
        ``normalized_emd``, ``auc`` (active: at least a tenth of the strongest source),
        ``time_course_error`` (NaN for fewer than 3 samples) and ``amplitude_error``.

    Examples
    --------
    >>> score(simulation.stc, estimate, forward["src"])  # doctest: +SKIP
    {'localization_error': 0.0071, 'spatial_dispersion': 0.021, ...}
    """
    x, y, positions = dense_data(truth, src), dense_data(stc, src), source_positions(src)
    if x.shape[-1] != y.shape[-1] or not np.allclose(truth.times, stc.times, rtol=0, atol=1e-6):
        raise ValueError(
            f"The truth has {x.shape[-1]} samples from {truth.times[0]:g} s on, the estimate "
            f"{y.shape[-1]} from {stc.times[0]:g} s on: crop or resample them to the same times."
        )
    strength = source_strength(x)
    centers = positions[find_peaks(strength, positions, radius=radius)]
    follows = time_course_error(x, y, positions, radius=radius) if x.shape[-1] >= 3 else np.nan
    return {
        "localization_error": localization_error(x, y, positions, radius=radius),
        "spatial_dispersion": spatial_dispersion(y, positions, centers),
        "normalized_emd": normalized_emd(x, y, positions),
        "auc": source_auc(strength >= 0.1 * strength.max(), y),
        "time_course_error": follows,
        "amplitude_error": amplitude_error(x, y),
    }
