"""Real recordings that pip packages ship, as MNE objects ready for source estimation."""

from __future__ import annotations

from dataclasses import dataclass

import mne
import numpy as np
from mne.utils import verbose

from mne_invkit.heads.electrodes import coregister_electrodes
from mne_invkit.heads.template import template_fiducials, template_surfaces, template_trans

_SFREQ, _TMIN, _N_STIMULI = 2048.0, -0.05, 6000
_BASELINE_END = -0.005  # s; the stimulus artifact follows


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording ready for an inverse solution.

    Attributes
    ----------
    evoked : mne.Evoked
        Average in V, electrode positions in the head frame, average-referenced.
    noise_cov : mne.Covariance
        Noise covariance of a single trial.
    citation : str
        Publication to cite, and the license.
    """

    evoked: mne.Evoked
    noise_cov: mne.Covariance
    citation: str


@verbose
def load_sep(*, verbose=None) -> Recording:
    """Load somatosensory evoked potentials of the right median nerve, in 256 channels.

    The average over about 6,000 stimuli in one subject, sampled at 2048 Hz from -50 to 130 ms.
    The package spharapy ships it (BSD-3-Clause). A rigid motion coregisters the cap to the
    template head. The noise covariance comes from the 45 ms before the stimulus. It is
    diagonal, since they have too few samples for 256 x 256 entries.

    Parameters
    ----------
    %(verbose)s

    Returns
    -------
    recording : Recording
        The evoked response with its noise covariance and citation.

    References
    ----------
    Graichen, U., Eichardt, R., Fiedler, P., Strohmeier, D., Zanow, F. & Haueisen, J. (2015).
    SPHARA: a generalized spatial Fourier analysis for multi-sensor systems with
    non-uniformly arranged sensors: application to EEG. PLoS ONE 10(4), e0121741.

    Examples
    --------
    >>> from mne_invkit import load_sep
    >>> sep = load_sep(verbose=False)
    >>> sep.evoked.data.shape
    (256, 369)
    """
    from spharapy.datasets import load_eeg_256_channel_study

    study = load_eeg_256_channel_study()
    names = [str(name) for name in study["labellist"]]
    front, left, up = study["vertlist"].T / 1e3
    trans = template_trans()
    digitized = np.stack([-left, front, up], axis=1)
    positions = coregister_electrodes(digitized, template_surfaces(), trans)
    to_head = mne.transforms.invert_transform(trans)
    lpa, nasion, rpa = mne.transforms.apply_trans(to_head, template_fiducials())
    montage = mne.channels.make_dig_montage(
        dict(zip(names, positions, strict=True)), nasion, lpa, rpa, coord_frame="head"
    )
    info = mne.create_info(names, _SFREQ, "eeg").set_montage(montage)
    evoked = mne.EvokedArray(
        study["eegdata"] * 1e-6, info, tmin=_TMIN, nave=_N_STIMULI, comment="Right median nerve"
    )
    evoked.set_eeg_reference("average", projection=True).apply_proj()
    baseline = evoked.copy().crop(None, _BASELINE_END).data
    noise_cov = mne.Covariance(
        _N_STIMULI * baseline.var(axis=1), names, [], evoked.info["projs"], baseline.shape[1]
    )
    citation = "Graichen et al. (2015), PLoS ONE 10(4), e0121741; data of spharapy, BSD-3-Clause"
    return Recording(evoked, noise_cov, citation)
