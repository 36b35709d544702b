"""The recordings have the units, times and places they claim."""

import numpy as np

from mne_invkit.heads.electrodes import place_electrodes
from mne_invkit.heads.template import template_bem, template_trans


def test_shape_and_times(sep):
    evoked = sep.evoked
    assert evoked.data.shape == (256, 369)
    assert evoked.info["sfreq"] == 2048
    np.testing.assert_allclose(evoked.times[[0, -1]], [-0.05, 0.13], atol=5e-4)
    assert evoked.nave == 6000
    assert "Graichen" in sep.citation


def test_data_are_microvolts_with_an_average_reference(sep):
    data = sep.evoked.data
    assert 1e-6 < np.abs(data).max() < 2e-5
    assert np.abs(data.mean(axis=0)).max() < 1e-9 * np.abs(data).max()
    assert any(p["active"] and "average" in p["desc"].lower() for p in sep.evoked.info["projs"])


def test_strongest_response_is_the_one_at_30_ms(sep):
    later = sep.evoked.copy().crop(0.01, None)
    peak = later.times[later.data.std(axis=0).argmax()]
    assert 0.028 < peak < 0.031


def test_response_starts_over_the_left_parietal_cortex(sep):
    """The cortex answers the right hand on the left: N20 behind, P22 in front."""
    evoked = sep.evoked.copy().crop(0.018, 0.022)
    strongest = np.abs(evoked.data).max(axis=1).argsort()[-5:]
    x = np.array([evoked.info["chs"][k]["loc"][0] for k in strongest])
    assert x.mean() < 0


def test_electrodes_are_near_the_skin(sep):
    info = sep.evoked.info
    placed = place_electrodes(info, template_bem(verbose=False), template_trans(), verbose=False)
    old, new = (np.array([ch["loc"][:3] for ch in i["chs"]]) for i in (info, placed))
    assert np.sqrt(np.mean(np.sum((new - old) ** 2, axis=1))) < 6e-3


def test_noise_is_of_one_trial(sep):
    std = np.sqrt(sep.noise_cov.data)
    assert sep.noise_cov["diag"]
    assert sep.noise_cov.ch_names == sep.evoked.ch_names
    assert (std > 0).all()
    assert 1e-6 < np.median(std) < 1e-4
    baseline = sep.evoked.copy().crop(None, -0.005).data.std(axis=1)
    np.testing.assert_allclose(std / np.sqrt(sep.evoked.nave), baseline)
