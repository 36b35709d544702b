"""The strongest source in words, the same in pictures, reports and the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mne_invkit.heads.regions import region_name
from mne_invkit.viz.snapshot import Peak

NO_SOURCE = "no source is active"


def drawn_unit(unit: str) -> tuple[float, str]:
    """Unit in which values of an estimate are drawn.

    Parameters
    ----------
    unit : str
        Unit of the estimate.

    Returns
    -------
    factor : float
        Factor from the one unit to the other.
    unit : str
        "nA m" for an estimate in A m, and the unit of the estimate otherwise.
    """
    return (1e9, "nA m") if unit == "A m" else (1.0, unit)


def in_ms(time: float) -> str:
    """Time (s) in milliseconds, to a tenth."""
    return f"{round(1e3 * time, 1) + 0.0:g} ms"


def in_mm(position: np.ndarray) -> str:
    """Position (mm) in whole millimeters."""
    return "({:d}, {:d}, {:d}) mm".format(*np.rint(position).astype(int))


def describe_peak(
    peak: Peak, unit: str = "A m", landmarks: Mapping[str, tuple] | None = None
) -> dict[str, str]:
    """Describe when and where a peak is.

    Parameters
    ----------
    peak : Peak
        The strongest source at one time.
    unit : str
        Unit of the estimate.
    landmarks : dict of tuple of float | None
        Positions (mm, MNI) by their names, to which distances are told.

    Returns
    -------
    words : dict of str
        Time, amplitude, position and, where MNI coordinates are known, region and distances.
        The amplitude is all that is said of an estimate without a source.
    """
    words = {"Time": in_ms(peak.time)}
    if peak.position is None:
        return {**words, "Amplitude": NO_SOURCE}
    factor, unit = drawn_unit(unit)
    words["Amplitude"] = f"{factor * peak.value:.3g} {unit}"
    if peak.mni is None:
        return {**words, "Position": f"MRI {in_mm(peak.position)}"}
    words["Position"] = f"MNI {in_mm(peak.mni)}"
    words["Region"] = region_name(peak.mni, peak.hemi)
    for name, place in (landmarks or {}).items():
        words[f"From the {name}"] = f"{np.linalg.norm(peak.mni - np.array(place)):.0f} mm"
    return words
