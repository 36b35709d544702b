"""Meshes on axes of matplotlib, drawn by pyvista where it can, or else by matplotlib alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from mne.utils import logger

_RESOLUTION = 4  # pixels in a mm
_MARGIN = 4.0  # mm around a mesh
_PROBE = """
import pyvista
plotter = pyvista.Plotter(off_screen=True)
plotter.add_mesh(pyvista.Sphere())
assert plotter.screenshot(return_img=True).std() > 0
"""


@cache
def can_render() -> bool:
    """Tell whether pyvista can draw here, without a display; tried once, in its own process.

    Returns
    -------
    able : bool
        False without pyvista, or where drawing fails. VTK without OpenGL may end the process.
    """
    if find_spec("pyvista") is None:
        logger.info(
            "pyvista is missing: matplotlib draws the brain. For finer pictures call "
            'pip install "mne-invkit[viz]".'
        )
        return False
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=60)
        able = done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        able = False
    if not able:
        logger.info("pyvista cannot draw here (no OpenGL): matplotlib draws the brain.")
    return able


def draw_mesh(
    ax: Axes, rr: np.ndarray, tris: np.ndarray, rgb: np.ndarray, toward: np.ndarray, up: np.ndarray
) -> None:
    """Draw a colored mesh as seen from a direction, on axes in mm.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    rr : ndarray, shape (n_vertices, 3)
        Vertices in mm.
    tris : ndarray, shape (n_triangles, 3)
        Outward triangles.
    rgb : ndarray, shape (n_vertices, 3)
        Colors of the vertices, 0 to 1.
    toward, up : ndarray, shape (3,)
        Unit vectors to the viewer and upward.
    """
    axes = np.stack([np.cross(up, toward), up])
    low, high = (rr @ axes.T).min(axis=0) - _MARGIN, (rr @ axes.T).max(axis=0) + _MARGIN
    if can_render():
        import pyvista

        with _plotter(_RESOLUTION * (high - low), ax) as plotter:
            mesh = pyvista.PolyData.from_regular_faces(rr, tris)
            plotter.add_mesh(mesh, scalars=rgb, rgb=True, smooth_shading=True, ambient=0.15)
            image = _look(plotter, (low + high) / 2 @ axes, toward, up, (high - low)[1])
        ax.imshow(image, extent=(low[0], high[0], low[1], high[1]))
    else:
        ax.add_collection(_polygons(rr, tris, rgb, axes, toward))
    ax.set(aspect="equal", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.axis("off")


def draw_balls(
    ax: Axes,
    points: np.ndarray,
    sizes: np.ndarray,
    rgb: np.ndarray,
    shells: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Draw balls inside translucent shells by pyvista, as seen from the left, front and above.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    points : ndarray, shape (n_points, 3)
        Positions in mm.
    sizes : ndarray, shape (n_points,)
        Radii in mm. A radius of 0 draws no ball.
    rgb : ndarray, shape (n_points, 3)
        Colors, 0 to 1.
    shells : list of tuple of ndarray
        Vertices (n, 3) in mm and triangles (m, 3) of the shells around the balls.
    """
    import pyvista

    hull = np.concatenate([points, *(rr for rr, _ in shells)])
    center, height = (hull.min(axis=0) + hull.max(axis=0)) / 2, 0.95 * np.ptp(hull, axis=0).max()
    toward = np.array([-0.62, 0.62, 0.48]) / np.linalg.norm([-0.62, 0.62, 0.48])
    with _plotter(np.array([800, 800]), ax) as plotter:
        for rr, tris in shells:
            mesh = pyvista.PolyData.from_regular_faces(rr, tris)
            plotter.add_mesh(mesh, color="#b9b4ae", opacity=0.12, smooth_shading=True)
        if not shells:
            plotter.add_points(points, color="#9a9a9a", point_size=3, opacity=0.4)
        if sizes.any():
            cloud = pyvista.PolyData(points[sizes > 0])
            cloud["sizes"], cloud["rgb"] = sizes[sizes > 0], rgb[sizes > 0]
            ball = pyvista.Sphere(radius=1.0, theta_resolution=16, phi_resolution=16)
            balls = cloud.glyph(geom=ball, scale="sizes", orient=False)
            plotter.add_mesh(balls, scalars="rgb", rgb=True, smooth_shading=True, ambient=0.35)
        ax.imshow(_look(plotter, center, toward, np.array([0, 0, 1.0]), height))
    ax.axis("off")


@contextmanager
def quiet_vtk() -> Iterator[None]:
    """Let VTK say errors only: without a display it warns, and draws all the same."""
    from vtkmodules.vtkCommonCore import vtkLogger

    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)


@contextmanager
def _plotter(size: np.ndarray, ax: Axes):
    """Off-screen plotter of pyvista with a size in pixels, without warnings about displays.

    Its background is that of the figure.
    """
    import pyvista

    with quiet_vtk():
        plotter = pyvista.Plotter(off_screen=True, window_size=np.round(size).astype(int).tolist())
        try:
            plotter.set_background(to_rgb(ax.figure.get_facecolor()))
            plotter.enable_parallel_projection()
            yield plotter
        finally:
            plotter.close()


def _look(plotter, center, toward, up, height) -> np.ndarray:
    """Take a picture of a place (mm) from a direction, `height` mm high."""
    plotter.camera_position = [center + 1e3 * toward, center, up]
    plotter.camera.parallel_scale = height / 2
    plotter.reset_camera_clipping_range()
    return plotter.screenshot(return_img=True)


def _polygons(rr, tris, rgb, axes, toward) -> PolyCollection:
    """Shaded triangles facing the viewer, from back to front."""
    corners = rr[tris]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normals @ toward / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    order = np.argsort(corners.mean(axis=1) @ toward)
    order = order[facing[order] > 0]
    colors = rgb[tris[order]].mean(axis=1) * (0.45 + 0.55 * facing[order, None])
    return PolyCollection(
        corners[order] @ axes.T,
        facecolors=colors, edgecolors=colors, linewidths=0.4, rasterized=True,
    )  # fmt: skip
