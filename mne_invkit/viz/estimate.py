"""Pictures of source estimates of all classes, drawn with or without a display."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit.viz import render
from mne_invkit.viz.snapshot import SPARSE, Peak, Snapshot, take_snapshot

CMAP = LinearSegmentedColormap.from_list("ember", ["#8c0d1e", "#dd3a1d", "#fb8b1e", "#ffd84a"])
"""Colors of magnitudes, legible on the gray cortex and on white paper."""

_VIEWS = {  # direction to the viewer and upward direction, for the left hemisphere
    "lateral": ((-1, 0, 0), (0, 0, 1)),
    "medial": ((1, 0, 0), (0, 0, 1)),
    "dorsal": ((0, 0, 1), (0, 1, 0)),
    "ventral": ((0, 0, -1), (0, 1, 0)),
    "anterior": ((0, 1, 0), (0, 0, 1)),
    "posterior": ((0, -1, 0), (0, 0, 1)),
}
_HEMIS = {"lh": "Left", "rh": "Right"}
_RING = (("black", 2.6), ("#35e0ff", 1.3))  # colors and widths of the ring at the peak
_WIDTH = 9.0  # inches
_SHARE = 0.1  # of the locations are in color
_MAX_BALL = 4.0  # mm
_VOXEL = 3.0  # mm
_MAX_AMPLITUDE = 1e-3  # A m; a source in the brain has about 1e-8, a value of dSPM about 10


# %% Units and parts of a picture


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


def _limits(magnitudes: np.ndarray) -> tuple[float, float]:
    """Smallest and largest magnitude in color: the largest tenth, or all of a sparse estimate."""
    active = np.sort(magnitudes[magnitudes > 0])[::-1]
    if not len(active):
        return 0.5, 1.0
    n_shown = int(_SHARE * len(magnitudes))
    if len(active) <= max(n_shown, SPARSE):
        return max(0.5 * active[-1], 0.05 * active[0]), active[0]
    return np.clip(active[n_shown], 0.2 * active[0], 0.75 * active[0]), active[0]


def _draw_hemisphere(ax, snapshot: Snapshot, hemi, surface, view, limits, peak: Peak) -> None:
    """Draw one hemisphere from one side, with a ring at a peak that faces the viewer."""
    import nibabel

    rr, tris = snapshot.read_surface(hemi, surface)
    curvature = snapshot.folder / "surf" / f"{hemi}.curv"
    sulcus = np.zeros(len(rr))
    if curvature.is_file():
        sulcus = np.clip(8 * nibabel.freesurfer.read_morph_data(curvature), -0.5, 0.5)
    values = snapshot.on_surface(hemi, surface)
    opacity = np.clip((values / limits[0] - 0.8) / 0.4, 0, 1)[:, None]
    rgb = opacity * _colors(values, limits) + (1 - opacity) * (0.68 - 0.22 * sulcus[:, None])
    toward, up = np.array(_VIEWS[view], float)
    if hemi == "rh" and view in ("lateral", "medial"):
        toward = -toward
    render.draw_mesh(ax, rr, tris, rgb, toward, up)
    if peak.hemi == hemi:
        ring = tris[(tris == peak.vertex).any(axis=1)]
        a, b, c = (rr[ring[:, k]] for k in range(3))
        if np.cross(b - a, c - a).sum(axis=0) @ toward > 0:
            x, y = rr[peak.vertex] @ np.cross(up, toward), rr[peak.vertex] @ up
            for color, width in _RING:
                ax.plot(x, y, "o", ms=13, mfc="none", mec=color, mew=width)
    cell = ax.get_subplotspec().get_position(ax.figure)
    ax.figure.text(cell.x0 + 0.01, cell.y1, _HEMIS[hemi], va="top", fontsize=9, color="0.4")


def _draw_glass(ax, snapshot: Snapshot, limits, peak: Peak) -> None:
    """Draw a volume as projections through a glass brain, in MNI space if it is known."""
    from nibabel import Nifti1Image
    from nilearn import plotting

    image, folder, to_mni = snapshot.image(_VOXEL), snapshot.folder, np.eye(4)
    if folder and (folder / "mri" / "transforms" / "talairach.xfm").is_file():
        to_mni = mne.read_talxfm(folder.name, folder.parent)["trans"].copy()
        to_mni[:3, 3] *= 1e3  # mm
        image = Nifti1Image(image.dataobj, to_mni @ image.affine)
    with _nilearn_style(ax, limits) as style:
        display = plotting.plot_glass_brain(image, display_mode="lyrz", **style)
    if peak.position is not None and peak.hemi is None:
        at = mne.transforms.apply_trans(to_mni, peak.position)
        for color, width in _RING:
            display.add_markers([at], "none", 170, edgecolors=color, linewidths=width)


def _draw_slices(ax, snapshot: Snapshot, limits, peak: Peak) -> None:
    """Draw a volume over slices of the subject's T1 through the peak."""
    import nibabel
    from nilearn import plotting

    t1 = nibabel.load(snapshot.folder / "mri" / "T1.mgz")
    t1 = nibabel.Nifti1Image(np.asarray(t1.dataobj), t1.header.get_vox2ras_tkr())
    cuts = snapshot.points.mean(axis=0) if peak.position is None else peak.position
    with _nilearn_style(ax, limits) as style:
        plotting.plot_stat_map(
            snapshot.image(_VOXEL), bg_img=t1, cut_coords=tuple(cuts), dim=0.4, **style
        )


@contextmanager
def _nilearn_style(ax, limits):
    """Axes and colors for nilearn, which may not warn of an image below the threshold."""
    low, high = limits
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "empty mask", UserWarning)
        yield {
            "axes": ax, "figure": ax.figure, "threshold": low, "vmin": low, "vmax": high,
            "cmap": CMAP, "symmetric_cbar": False, "colorbar": False,
        }  # fmt: skip


def _draw_cloud(ax, snapshot: Snapshot, limits) -> None:
    """Draw the locations of a volume as balls inside the translucent brain."""
    values, folder = snapshot.values, snapshot.folder
    sizes = np.where(values >= limits[0], _MAX_BALL * np.minimum(values / limits[1], 1), 0)
    has_brain = folder and (folder / "surf" / "lh.pial").is_file()
    shells = [snapshot.read_surface(h, "pial") for h in ("lh", "rh")] if has_brain else []
    render.draw_balls(ax, snapshot.points, sizes, _colors(values, limits), shells)


def _colors(values, limits) -> np.ndarray:
    """Colors of magnitudes, shape (n, 3)."""
    return CMAP(Normalize(*limits, clip=True)(values))[:, :3]


# %% The picture


@verbose
@fill_doc
def plot_estimate(
    stc,
    src: mne.SourceSpaces | None = None,
    *,
    time: float | None = None,
    subject: str | None = None,
    subjects_dir=None,
    trans=None,
    title: str | None = None,
    views: Sequence[str] = ("lateral", "medial"),
    surface: str = "inflated",
    clim: tuple[float, float] | None = None,
    unit: str = "nA m",
    verbose=None,
) -> Figure:
    """Draw a source estimate at one time.

    The cortex is drawn as a surface of the subject. A volume is drawn on a glass brain, on the
    subject's T1 if there is one, and as balls inside the brain where pyvista can draw. No
    display is needed, and settings of MNE and pyvista do not change. Magnitudes are drawn: the
    lengths of vectors, or the absolute values of scalars.

    Parameters
    ----------
    %(stc_at_time)s
    %(subject_of_stc)s
    %(trans_of_src)s
    title : str | None
        First line of the title.
    views : sequence of str
        Sides of the cortex, a row each: ``"lateral"``, ``"medial"``, ``"dorsal"``,
        ``"ventral"``, ``"anterior"`` or ``"posterior"``.
    surface : str
        Surface on which the cortex is drawn.
    clim : tuple of float | None
        Smallest and largest magnitude in color, in `unit`. By default the largest tenth of the
        magnitudes is in color, or all of a sparse estimate.
    unit : str
        Unit of the picture. ``"nA m"`` is for an estimate in A m, MNE's unit of amplitudes. For
        an estimate in any other unit pass that unit, such as ``unit="dSPM"``.
    %(verbose)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The picture. A ring marks the peak.

    Examples
    --------
    >>> from mne_invkit import plot_estimate
    >>> fig = plot_estimate(stc, forward["src"], subject="fsaverage5")  # doctest: +SKIP
    """
    for view in views:
        if view not in _VIEWS:
            raise ValueError(f"views must be among {', '.join(_VIEWS)}; got {view!r}.")
    scale = 1e9 if unit == "nA m" else 1.0
    snapshot = take_snapshot(
        stc, src, time=time, subject=subject, subjects_dir=subjects_dir, trans=trans
    )
    peak = snapshot.peak()
    if unit == "nA m" and peak.value > _MAX_AMPLITUDE:
        raise ValueError(
            f"stc reaches {peak.value:.3g}, too much for amplitudes in A m: pass the unit of the "
            'estimate, such as unit="dSPM".'
        )
    limits = _limits(snapshot.magnitudes) if clim is None else np.divide(clim, scale)
    if not 0 < limits[0] < limits[1]:
        raise ValueError(f"clim must be two positive numbers in rising order, got {clim!r}.")

    rows = _rows(snapshot, views, surface, limits, peak)
    heights = [0.75, *(height for height, _ in rows), 0.1]
    fig = plt.figure(figsize=(_WIDTH, sum(heights)), facecolor="white")
    try:
        grid = fig.add_gridspec(
            len(heights), 12, height_ratios=heights, left=0.01, right=0.88, bottom=0, top=1,
            hspace=0, wspace=0,
        )  # fmt: skip
        for k, (_, cells) in enumerate(rows, start=1):
            for columns, draw in cells:
                draw(fig.add_subplot(grid[k, columns]))
        if peak.value > 0:
            norm = Normalize(limits[0] * scale, limits[1] * scale)
            bar = fig.add_axes([0.905, 0.5 - 0.9 / sum(heights), 0.016, 1.6 / sum(heights)])
            fig.colorbar(ScalarMappable(norm, CMAP), cax=bar).set_label(unit)
            bar.tick_params(labelsize=8)
        text = [title] if title else []
        fig.suptitle("\n".join([*text, _describe(peak, scale, unit)]), y=1 - 0.12 / sum(heights),
                     va="top", fontsize=11)  # fmt: skip
    except BaseException:
        plt.close(fig)
        raise
    return fig


def _rows(snapshot: Snapshot, views, surface, limits, peak) -> list:
    """Rows of a picture: height in inches, and cells of (columns of twelve, drawing function)."""
    rows = []
    if snapshot.surface is not None:
        for view in views:
            hemis = ("rh", "lh") if view in ("anterior", "ventral") else ("lh", "rh")
            cells = [
                partial(_draw_hemisphere, snapshot=snapshot, hemi=hemi, surface=surface,
                        view=view, limits=limits, peak=peak)
                for hemi in hemis
            ]  # fmt: skip
            rows.append((2.6, [(slice(0, 6), cells[0]), (slice(6, 12), cells[1])]))
    if snapshot.points is not None:
        glass = partial(_draw_glass, snapshot=snapshot, limits=limits, peak=peak)
        rows.append((2.0, [(slice(0, 12), glass)]))
        cells, split = [], 8 if render.can_render() else 12
        if snapshot.folder and (snapshot.folder / "mri" / "T1.mgz").is_file():
            slices = partial(_draw_slices, snapshot=snapshot, limits=limits, peak=peak)
            cells.append((slice(0, split), slices))
        if split < 12:
            cells.append((slice(split, 12), partial(_draw_cloud, snapshot=snapshot, limits=limits)))
        if cells:
            rows.append((2.4, cells))
    return rows


def _describe(peak: Peak, scale: float, unit: str) -> str:
    """Describe the peak: its time, magnitude and position."""
    if peak.position is None:
        return f"{1e3 * peak.time:.0f} ms, no source is active"
    x, y, z = peak.position
    return (
        f"{1e3 * peak.time:.0f} ms, peak {peak.value * scale:.3g} {unit} "
        f"at ({x:.0f}, {y:.0f}, {z:.0f}) mm"
    )
