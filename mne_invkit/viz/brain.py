"""Estimates on the cortex in MNE's Brain, in a window or, without a display, off screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager

import mne
import numpy as np
from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit.heads.template import SUBJECT, template_subjects_dir
from mne_invkit.viz import render
from mne_invkit.viz.estimate import CMAP
from mne_invkit.viz.snapshot import take_snapshot

_LIMITS = (0.05, 0.3, 1.0)  # shares of the maximum: transparent, middle, brightest color
_FEW = 600  # largest number of visible locations of a hemisphere that are drawn as spots
_MEND = (
    'No 3-D rendering here: install it with pip install "mne-invkit[viz]" and, on Linux, the '
    "system's libgl1 and libegl1. mne_invkit.plot_estimate needs neither."
)


@contextmanager
def _backend():
    """Choose MNE's 3-D backend: Qt where a window can open, or else the notebook's, off screen."""
    import pyvista

    window = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    off_screen, backend = pyvista.OFF_SCREEN, mne.viz.get_3d_backend()
    try:
        mne.viz.set_3d_backend("pyvistaqt" if window else "notebook")
    except ImportError as error:
        raise RuntimeError(_MEND) from error
    pyvista.OFF_SCREEN = off_screen or not window
    try:
        yield window
    finally:
        pyvista.OFF_SCREEN = off_screen
        mne.viz.set_3d_backend(backend)


@verbose
@fill_doc
def plot_brain(
    stc: mne.SourceEstimate | mne.VectorSourceEstimate,
    *,
    time: float | None = None,
    subject: str | None = None,
    subjects_dir=None,
    surface: str = "inflated",
    views: Sequence[str] = ("lateral", "medial"),
    size: tuple[int, int] = (1000, 800),
    verbose=None,
) -> mne.viz.Brain:
    """Draw an estimate on the cortex in MNE's Brain, with a ball at its peak.

    Unlike ``stc.plot``, this needs no display, and the colors depend on the maximum of the
    estimate. MNE takes percentiles, which are zero for a sparse estimate.

    Parameters
    ----------
    stc : mne.SourceEstimate | mne.VectorSourceEstimate
        The estimate. Magnitudes are drawn.
    %(time)s
    %(subject_of_stc)s
    surface : str
        Surface on which the estimate is drawn.
    views : sequence of str
        Views of MNE's Brain, a row each.
    size : tuple of int
        Width and height in pixels.
    %(verbose)s

    Returns
    -------
    brain : mne.viz.Brain
        Save a picture with ``brain.save_image("brain.png")`` and close it with
        ``brain.close()``.

    Examples
    --------
    >>> from mne_invkit import plot_brain
    >>> plot_brain(stc).save_image("brain.png")  # doctest: +SKIP
    """
    if isinstance(stc, mne.VectorSourceEstimate):
        stc = stc.magnitude()
    if not isinstance(stc, mne.SourceEstimate):
        raise TypeError(
            f"MNE's Brain draws estimates on the cortex, got a {type(stc).__name__}: use "
            "mne_invkit.plot_estimate, or pass stc.surface() of a mixed estimate."
        )
    if not render.can_render():
        raise RuntimeError(_MEND)
    subject = subject or stc.subject
    if subjects_dir is None and subject == SUBJECT:
        subjects_dir = template_subjects_dir()
    snapshot = take_snapshot(stc, time=time, subject=subject, subjects_dir=subjects_dir)
    peak = snapshot.peak()
    low, middle, high = (share * (peak.value or 1.0) for share in _LIMITS)
    with _backend() as window:
        brain = mne.viz.Brain(
            subject, hemi="split", surf=surface, subjects_dir=subjects_dir, views=list(views),
            size=size, background="white", show=window,
        )  # fmt: skip
        data = zip(("lh", "rh"), stc.vertices, (stc.lh_data, stc.rh_data), strict=True)
        for hemi, vertices, values in data:
            seen = np.abs(values).max(axis=1) > low
            if not seen.any():
                continue
            vertices, values = vertices[seen], values[seen]
            brain.add_data(
                np.abs(values), low, middle, high, hemi=hemi, vertices=vertices, time=stc.times,
                initial_time=snapshot.time, colormap=CMAP, transparent=True, colorbar=False,
                smoothing_steps=5 if len(vertices) <= _FEW else "nearest", time_label=None,
            )  # fmt: skip
        if peak.hemi:
            brain.add_foci(
                peak.vertex, coords_as_verts=True, hemi=peak.hemi, color="cyan", scale_factor=0.4
            )
    return brain
