"""Positions have the names of the regions around them."""

import numpy as np
import pytest

from mne_invkit.heads.regions import MNI305_TO_MNI152, divide_cortex, region_name


@pytest.mark.parametrize(
    ("position", "name"),
    [
        ((-38, -21, 58), "left parietal"),
        ((0, 50, 0), "right vmPFC"),
        ((-30, -90, 0), "left post occipital"),
    ],
)
def test_region_name(position, name):
    assert region_name(position).startswith(name)
    assert "mm from its center" in region_name(position)


@pytest.mark.parametrize("hemi", ["lh", "rh"])
def test_source_on_the_cortex_is_in_a_region_of_its_cortex(hemi):
    """Even below the occipital lobe, next to the cerebellum, and on the midline."""
    side = -1 if hemi == "lh" else 1
    below = np.array([25 * side, -60, -20])
    assert "cerebellum" in region_name(below)
    assert "cerebellum" not in region_name(below, hemi)
    deep = np.array([12 * side, -12, 6])
    assert "thalamus" in region_name(deep)
    assert "thalamus" not in region_name(deep, hemi)
    assert region_name([-side, 45, 10], hemi).startswith("left" if hemi == "lh" else "right")


def test_distance_is_measured_in_the_frame_of_the_template():
    """The centers of the atlas are MNI152, some 4 mm from MNI305."""
    center = np.linalg.solve(MNI305_TO_MNI152, [-38, -15, 59, 1])[:3]
    assert region_name(center, "lh") == "left parietal (0 mm from its center)"


def test_cortex_is_divided_by_the_nearest_center():
    rr = np.array([[-38.0, -27, 58], [-30, -88, 6], [-2, 30, 27]])
    regions, names = divide_cortex(rr, "lh")
    assert [names[k] for k in regions] == ["parietal 75", "post occipital 157", "ACC 19"]
