"""Pictures of source estimates of all classes, drawn with or without a display."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from mne.utils import verbose, warn

from mne_invkit._docs import fill_doc
from mne_invkit.heads.regions import MNI305_TO_MNI152
from mne_invkit.inverse.stc import Estimate
from mne_invkit.viz import render
from mne_invkit.viz.findings import NO_SOURCE, describe_peak
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


# %% Parts of a picture


def color_limits(magnitudes: np.ndarray) -> tuple[float, float]:
    """Limits of the colors, the same in every picture.

    Parameters
    ----------
    magnitudes : ndarray, shape (n_locations,)
        Magnitudes at the time that is drawn.

    Returns
    -------
    low, high : float
        Smallest and largest magnitude in color. Of a dense estimate the largest tenth is in
        color, but nothing below a fifth of the maximum; of a sparse one all is.
    """
    active = np.sort(magnitudes[magnitudes > 0])[::-1]
    if not len(active):
        return 0.5, 1.0
    if is_sparse(magnitudes):
        return max(0.5 * active[-1], 0.05 * active[0]), active[0]
    low = active[int(_SHARE * len(magnitudes))]
    return np.clip(low, 0.2 * active[0], 0.75 * active[0]), active[0]


def is_sparse(magnitudes: np.ndarray) -> bool:
    """Tell whether few sources are active, which are drawn as spots.

    Parameters
    ----------
    magnitudes : ndarray, shape (n_locations,)
        Magnitudes at the time that is drawn.

    Returns
    -------
    sparse : bool
        Whether no more than a tenth of the locations, or 50, are active.
    """
    return np.count_nonzero(magnitudes) <= max(int(_SHARE * len(magnitudes)), SPARSE)


def check_unit(unit: str, maximum: float) -> float:
    """Factor by which values are multiplied to be drawn in a unit.

    Parameters
    ----------
    unit : str
        Unit of the picture.
    maximum : float
        Largest magnitude of the estimate, too large for A m if it is in another unit.

    Returns
    -------
    scale : float
        From A m to nA m, and 1 for any other unit.
    """
    if unit == "nA m" and maximum > _MAX_AMPLITUDE:
        raise ValueError(
            f"stc reaches {maximum:.3g}, too much for amplitudes in A m: pass the unit of the "
            'estimate, such as unit="dSPM".'
        )
    return 1e9 if unit == "nA m" else 1.0


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
                ax.plot(x, y, "o", ms=13, mfc="none", mec=color, mew=width, clip_on=False, zorder=9)
    cell = ax.get_subplotspec().get_position(ax.figure)
    ax.figure.text(cell.x0 + 0.01, cell.y1, _HEMIS[hemi], va="top", fontsize=9, color="0.4")


def _draw_glass(ax, snapshot: Snapshot, limits, peak: Peak) -> None:
    """Draw a volume as projections through the glass brain of MNI space."""
    from nibabel import Nifti1Image
    from nilearn import plotting

    to_glass = MNI305_TO_MNI152 @ snapshot.to_mni
    image = snapshot.image(_VOXEL)
    image = Nifti1Image(image.dataobj, to_glass @ image.affine)
    with _nilearn_style(ax, limits) as style:
        display = plotting.plot_glass_brain(
            image, display_mode="lyrz", black_bg=_is_dark(ax.figure), **style
        )
    if peak.position is not None and peak.hemi is None:
        at = mne.transforms.apply_trans(to_glass, peak.position)
        for color, width in _RING:
            display.add_markers(
                [at], "none", 170, edgecolors=color, linewidths=width, clip_on=False
            )


def _draw_shadows(ax, snapshot: Snapshot, limits, peak: Peak) -> None:
    """Draw a volume as projections onto three planes, with its locations in gray."""
    ax.axis("off")
    image = snapshot.image(_VOXEL)
    values, first = np.asarray(image.dataobj), image.affine[:3, 3] - _VOXEL / 2
    last = first + _VOXEL * np.array(values.shape)
    for k, (along, across, up) in enumerate(((0, 1, 2), (1, 0, 2), (2, 0, 1))):
        panel = ax.inset_axes([k / 3, 0.02, 0.3, 0.96])
        panel.scatter(*snapshot.points[:, [across, up]].T, s=4, color="0.6", alpha=0.3, lw=0)
        shadow = values.max(axis=along).T
        panel.imshow(
            np.ma.masked_less(shadow, limits[0]), cmap=CMAP, vmin=limits[0], vmax=limits[1],
            origin="lower", extent=(first[across], last[across], first[up], last[up]), zorder=3,
        )  # fmt: skip
        if peak.position is not None and peak.hemi is None:
            for color, width in _RING:
                panel.plot(*peak.position[[across, up]], "o", ms=13, mfc="none", mec=color,
                           mew=width, clip_on=False, zorder=9)  # fmt: skip
        for at, side in zip((0.0, 1.0), ("PA", "LR", "LR")[k], strict=True):
            panel.text(at, 0.5, side, transform=panel.transAxes, ha="center", color="0.5")
        panel.axis("off")


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


def _is_dark(fig: Figure) -> bool:
    """Whether a figure has a dark background."""
    return np.mean(to_rgb(fig.get_facecolor())) < 0.5


def _colors(values, limits) -> np.ndarray:
    """Colors of magnitudes, shape (n, 3)."""
    return CMAP(Normalize(*limits, clip=True)(values))[:, :3]


# %% The picture


@verbose
@fill_doc
def plot_estimate(
    stc: Estimate,
    src: mne.SourceSpaces | None = None,
    *,
    time: float | None = None,
    subject: str | None = None,
    subjects_dir: str | Path | None = None,
    trans: mne.transforms.Transform | str | Path | None = None,
    title: str | None = None,
    views: Sequence[str] = ("lateral", "medial"),
    surface: str = "inflated",
    clim: tuple[float, float] | None = None,
    unit: str = "nA m",
    verbose=None,
) -> Figure:
    """Draw a source estimate at one time.

    The cortex is drawn as a surface of the subject. A volume is drawn on the glass brain of MNI
    space if the subject's transformation to it is known (``talairach.xfm``), on the subject's
    T1 if there is one, and as balls inside the brain where pyvista can draw. Of a subject that
    is not known, it is drawn as plain projections, with a warning. No display is needed, and
    settings of MNE and pyvista do not change. Magnitudes are drawn: the lengths of vectors, or
    the absolute values of scalars. The background is that of matplotlib's style.

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
    %(drawn_unit)s
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
    snapshot = take_snapshot(
        stc, src, time=time, subject=subject, subjects_dir=subjects_dir, trans=trans
    )
    peak = snapshot.peak()
    scale = check_unit(unit, peak.value)
    limits = np.divide(clim, scale) if clim else color_limits(snapshot.magnitudes)
    if not 0 < limits[0] < limits[1]:
        raise ValueError(f"clim must be two positive numbers in rising order, got {clim!r}.")

    rows = _rows(snapshot, views, surface, limits, peak)
    heights = [0.75, *(height for height, _ in rows), 0.1]
    fig = plt.figure(figsize=(_WIDTH, sum(heights)))
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
        text.append(_describe(peak, "A m" if unit == "nA m" else unit))
        if snapshot.points is not None and not _is_known(snapshot):
            text[-1] += ", no brain is drawn: the MRI is not known"
        fig.suptitle("\n".join(text), y=1 - 0.12 / sum(heights), va="top", fontsize=11)
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
        if snapshot.to_mni is not None:
            glass = partial(_draw_glass, snapshot=snapshot, limits=limits, peak=peak)
            rows.append((2.0, [(slice(0, 12), glass)]))
        elif not _is_known(snapshot):
            warn(
                "The MRI of the subject is not known, so the volume is drawn without a brain: "
                "pass subject=... and subjects_dir=..., whose T1.mgz or talairach.xfm is used."
            )
            shadows = partial(_draw_shadows, snapshot=snapshot, limits=limits, peak=peak)
            rows.append((2.6, [(slice(0, 12), shadows)]))
        cells, split = [], 8 if render.can_render() else 12
        if snapshot.has_t1:
            slices = partial(_draw_slices, snapshot=snapshot, limits=limits, peak=peak)
            cells.append((slice(0, split), slices))
        if split < 12:
            cells.append((slice(split, 12), partial(_draw_cloud, snapshot=snapshot, limits=limits)))
        if cells:
            rows.append((2.4, cells))
    return rows


def _is_known(snapshot: Snapshot) -> bool:
    """Whether a volume can be drawn in a brain: the subject's, or that of MNI space."""
    return snapshot.has_t1 or snapshot.to_mni is not None


def _describe(peak: Peak, unit: str) -> str:
    """Describe the peak: its time, magnitude and position."""
    words = describe_peak(peak, unit)
    if peak.position is None:
        return f"{words['Time']}, {NO_SOURCE}"
    return f"{words['Time']}, peak {words['Amplitude']} at {words['Position']}"
