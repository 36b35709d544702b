"""Estimates on the cortex in MNE's Brain, in a window or, without a display, off screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import mne
import numpy as np
from matplotlib.colors import ListedColormap
from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit._mne import hide_ticks
from mne_invkit.heads.template import SUBJECT, template_subjects_dir
from mne_invkit.inverse.stc import kind_of
from mne_invkit.viz import render
from mne_invkit.viz.estimate import CMAP, check_unit, color_limits
from mne_invkit.viz.findings import NO_SOURCE, in_ms
from mne_invkit.viz.snapshot import take_snapshot

_FADE = 0.05  # share of the colors over which they become opaque
_HEMIS = {"lh": "Left", "rh": "Right"}
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
        with render.quiet_vtk():
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
    subjects_dir: str | Path | None = None,
    surface: str = "inflated",
    views: Sequence[str] = ("lateral", "medial"),
    size: tuple[int, int] = (1000, 800),
    unit: str = "nA m",
    background: str = "white",
    verbose=None,
) -> mne.viz.Brain:
    """Draw an estimate on the cortex in MNE's Brain, with a ball at its peak.

    Unlike ``stc.plot``, this needs no display, and the colors are those of
    :func:`mne_invkit.plot_estimate` at the same time. MNE takes percentiles, which are zero for
    a sparse estimate.

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
    %(drawn_unit)s
    background : str
        Color behind the brain. Text is black or white, as it is legible.
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
    if kind_of(stc) != "surface":
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
    scale = check_unit(unit, peak.value)
    low, high = scale * np.array(color_limits(snapshot.magnitudes))
    with _backend() as window:
        brain = mne.viz.Brain(
            subject, hemi="split", surf=surface, subjects_dir=subjects_dir, views=list(views),
            size=size, background=background, show=window,
        )  # fmt: skip
        corner, drawn = (len(views) - 1, 0), False
        for column, (hemi, side) in enumerate(_HEMIS.items()):
            brain.add_text(0.03, 0.88, side, row=0, col=column, font_size=14)
            values = scale * np.abs(stc.rh_data if column else stc.lh_data)
            highest = values.max(axis=1, initial=0)
            weights = snapshot.surface_weights(hemi, surface, highest > 0)
            vertices = np.flatnonzero(weights @ highest > low)
            if not len(vertices):
                continue
            if not drawn:
                drawn, corner = True, (len(views) - 1, column)
            brain.add_data(
                weights[vertices] @ values, low, (low + high) / 2, high, hemi=hemi,
                vertices=vertices, time=stc.times, initial_time=snapshot.time, smoothing_steps=0,
                colormap=_fading(), transparent=False, colorbar=corner, time_label=in_ms,
                colorbar_kwargs={"title": "", "n_labels": 4, "fmt": "%.3g"},
            )  # fmt: skip
        hide_ticks(brain)
        note = unit if drawn else f"{in_ms(snapshot.time)}, {NO_SOURCE}"
        size = 14 if drawn else 9
        brain.add_text(0.05, 0.15, note, row=corner[0], col=corner[1], font_size=size)
        if peak.hemi:
            brain.add_foci(
                peak.vertex, coords_as_verts=True, hemi=peak.hemi, color="cyan", scale_factor=0.4
            )
    return brain


def _fading() -> ListedColormap:
    """Colors that are transparent below their range."""
    colors = CMAP(np.linspace(0, 1, 256))
    colors[:, 3] = np.clip(np.linspace(0, 1 / _FADE, 256), 0, 1)
    return ListedColormap(colors)
