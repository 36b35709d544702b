"""Surface estimates on MNE's Brain, in a window or, without a display, off screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager

import mne
import numpy as np
from mne.utils import fill_doc, verbose

from mne_invkit.heads.template import SUBJECT, template_subjects_dir
from mne_invkit.viz.estimate import CMAP
from mne_invkit.viz.render import can_render
from mne_invkit.viz.snapshot import take_snapshot

_LIMITS = (0.05, 0.3, 1.0)  # of the maximum: transparent, middle, brightest color
_FEW = 600  # visible sources of a hemisphere up to which each is drawn as a spot
_MEND = (
    'No 3-D rendering here: install it with pip install "mne-invkit[viz]" and, on Linux, the '
    "system's libgl1 and libegl1; mne_invkit.plot_estimate needs neither."
)


@contextmanager
def _backend():
    """Choose MNE's 3-D backend: Qt where a window can open, else the notebook's, off screen."""
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


@fill_doc
@verbose
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
    """Draw a surface estimate on MNE's Brain, with a ball at its peak.

    Unlike ``stc.plot`` it needs no display, and it sets the colors by the maximum, since the
    percentiles that MNE takes are zero for a sparse estimate.

    Parameters
    ----------
    stc : mne.SourceEstimate | mne.VectorSourceEstimate
        The estimate; magnitudes are drawn.
    time : float | None
        Initial time in s; None for the time of the maximum.
    subject : str | None
        Subject, by default that of the estimate.
    subjects_dir : path-like | None
        Folder of the subjects, by default the template's for the subject ``fsaverage5``.
    surface : str
        Surface to draw on.
    views : sequence of str
        Views, one below the other.
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
            f"MNE's Brain draws surface estimates, got {type(stc).__name__}: use "
            "mne_invkit.plot_estimate, or stc.surface() of a mixed estimate."
        )
    if not can_render():
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
