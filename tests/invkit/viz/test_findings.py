"""The strongest source in words."""

import numpy as np

from mne_invkit.viz.findings import describe_peak
from mne_invkit.viz.snapshot import Peak

AT = np.array([-38.4, -26.7, 58.0])


def test_all_that_is_known_is_said():
    peak = Peak(0.02978, 2.957e-9, AT, "lh", 7, AT)
    assert describe_peak(peak, landmarks={"hand": (-38.4, -26.7, 48)}) == {
        "Time": "29.8 ms",
        "Amplitude": "2.96 nA m",
        "Position": "MNI (-38, -27, 58) mm",
        "Region": "left parietal (1 mm from its center)",
        "From the hand": "10 mm",
    }


def test_mri_coordinates_have_no_region_and_no_distance():
    words = describe_peak(Peak(-1e-9, 12.0, AT), "dSPM", {"hand": (0, 0, 0)})
    assert words == {"Time": "0 ms", "Amplitude": "12 dSPM", "Position": "MRI (-38, -27, 58) mm"}


def test_nothing_active():
    words = describe_peak(Peak(0.01, 0.0), landmarks={"hand": (0, 0, 0)})
    assert words == {"Time": "10 ms", "Amplitude": "no source is active"}
