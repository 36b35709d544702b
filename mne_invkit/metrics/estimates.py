"""The metrics of :mod:`mne_invkit.metrics.arrays`, for MNE's source estimates."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import warn

from mne_invkit.inverse.stc import Estimate, dense_data, source_positions
from mne_invkit.metrics import arrays


def score(
    truth: Estimate, stc: Estimate, src: mne.SourceSpaces, *, radius: float = 0.02
) -> dict[str, float]:
    """Compute all metrics of an estimate.

    Parameters
    ----------
    truth, stc : source estimate
        True and estimated sources over the same times, each of any of MNE's six classes.
    src : mne.SourceSpaces
        Source space with the vertices of both, such as ``forward["src"]``.
    radius : float
        Radius of :func:`~mne_invkit.metrics.arrays.find_peaks` (m).

    Returns
    -------
    scores : dict
        ``localization_error`` and ``spatial_dispersion`` (around the peaks of the truth) in m,
        ``normalized_emd`` (NaN, with a warning, where POT is not installed), ``auc`` (of locations
        with at least a tenth of the largest true strength), ``time_course_error`` (NaN for fewer
        than 3 samples) and ``amplitude_error``.

    Examples
    --------
    >>> score(simulation.stc, estimate, forward["src"])  # doctest: +SKIP
    {'localization_error': 0.0071, 'spatial_dispersion': 0.021, ...}
    """
    x, y, positions = dense_data(truth, src), dense_data(stc, src), source_positions(src)
    if x.shape[-1] != y.shape[-1] or not np.allclose(truth.times, stc.times, rtol=0, atol=1e-6):
        raise ValueError(
            f"truth has {x.shape[-1]} samples from {truth.times[0]:g} s on, and stc "
            f"{y.shape[-1]} from {stc.times[0]:g} s on: crop or resample them to the same times."
        )
    for name, values in (("truth", x), ("stc", y)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has values that are not finite: check the data it is from.")
    strength = arrays.location_strength(x)
    centers = positions[arrays.find_peaks(strength, positions, radius=radius)]
    follows = (
        arrays.time_course_error(x, y, positions, radius=radius) if x.shape[-1] >= 3 else np.nan
    )
    try:
        emd = arrays.normalized_emd(x, y, positions)
    except ImportError as error:
        warn(f"{error} Until then, normalized_emd is NaN.")
        emd = np.nan
    return {
        "localization_error": arrays.localization_error(x, y, positions, radius=radius),
        "spatial_dispersion": arrays.spatial_dispersion(y, positions, centers),
        "normalized_emd": emd,
        "auc": arrays.source_auc(strength >= 0.1 * strength.max(), y),
        "time_course_error": follows,
        "amplitude_error": arrays.amplitude_error(x, y),
    }
