"""Positions have the names of the regions around them."""

import pytest

from mne_invkit.heads.regions import region_name


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
