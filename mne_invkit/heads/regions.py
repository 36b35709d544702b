"""Names of places in the template's brain."""

from __future__ import annotations

import numpy as np


def region_name(position) -> str:
    """Name the place nearest to a position in the template.

    Parameters
    ----------
    position : array-like, shape (3,)
        Position in mm, MRI frame of the template (MNI305).

    Returns
    -------
    name : str
        Side and name of the nearest of the 160 regions of Dosenbach et al. (2010), which
        nilearn bundles, with the distance to its centre.
    """
    from nilearn import datasets

    regions = datasets.fetch_coords_dosenbach_2010()
    centres = np.array([[r["x"], r["y"], r["z"]] for _, r in regions["rois"].iterrows()], float)
    distances = np.linalg.norm(centres - np.asarray(position, float), axis=1)
    nearest = int(distances.argmin())
    side = "left" if position[0] < 0 else "right"
    name = str(regions["labels"][nearest]).rstrip("0123456789 ")
    return f"{side} {name} ({distances[nearest]:.0f} mm from its centre)"
