"""Names of regions in the template's brain."""

from __future__ import annotations

import numpy as np


def region_name(position) -> str:
    """Name the region nearest to a position in the template.

    Parameters
    ----------
    position : array-like, shape (3,)
        Position in mm, MRI frame of the template (MNI305).

    Returns
    -------
    name : str
        Side and name of the nearest region, with the distance to its center. The 160 regions
        are those of Dosenbach et al. (2010), which nilearn bundles.
    """
    from nilearn import datasets

    regions = datasets.fetch_coords_dosenbach_2010()
    centers = np.array([[r["x"], r["y"], r["z"]] for _, r in regions["rois"].iterrows()], float)
    distances = np.linalg.norm(centers - np.asarray(position, float), axis=1)
    nearest = int(distances.argmin())
    side = "left" if position[0] < 0 else "right"
    name = str(regions["labels"][nearest]).rstrip("0123456789 ")
    return f"{side} {name} ({distances[nearest]:.0f} mm from its center)"
