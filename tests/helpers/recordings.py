"""Real recordings and a place that several tests share."""

import mne
import numpy as np

CENTER = np.array([0, 0, 0.04])
"""Middle of the spheres around the template's cortex (m, head frame)."""


def read_auditory(shared_data, pos=7.0):
    """Real MEG and EEG answers to tones in each ear, a volume of `pos` mm, noise covariance."""
    folder = shared_data / "sample_subject"
    evokeds = mne.read_evokeds(folder / "sample_auditory-ave.fif.gz", verbose="error")
    for evoked in evokeds:
        evoked.info["bads"] = ["EEG 053", "MEG 2443"]
        evoked.apply_baseline((None, 0), verbose="error")
    src = mne.setup_volume_source_space(
        pos=pos, surface=folder / "inner_skull.surf", mindist=5.0, add_interpolator=False,
        verbose="error",
    )  # fmt: skip
    bem = mne.read_bem_solution(folder / "sample-320-320-320-bem-sol.fif", verbose="error")
    forward = mne.make_forward_solution(
        evokeds[0].info, folder / "sample-trans.fif", src, bem, verbose="error"
    )
    return (
        dict(zip(("left", "right"), evokeds, strict=True)),
        forward,
        mne.read_cov(folder / "sample-cov.fif", verbose="error"),
    )
