"""The conductivity of the skull, learned from the data."""

import numpy as np
import pytest

from mne_invkit.heads.conductivity import change_skull
from mne_invkit.heads.template import template_forward
from mne_invkit.simulation.evoked import simulate_evoked
from mne_kronbayes import apply_kron_bayes, learn_skull

COARSE = dict(occam=2, noise="scalar", tol=1e-3)
"""Options of quick fits."""


@pytest.fixture(scope="module")
def templates(eeg_info):
    """Forward solutions of the template by how well its skull conducts."""
    return {
        factor: template_forward(
            eeg_info, spacing="ico3", conductivity=(0.3, 0.006 * factor, 0.3), verbose=False
        )
        for factor in (1, 2)
    }


@pytest.fixture(scope="module")
def recording(templates, eeg_info):
    """Three sources below a skull that conducts twice as well."""
    return simulate_evoked(
        templates[2], eeg_info, sources=3, orientation="normal", snr_db=10, n_trials=20,
        tmax=0.19, rng=3, verbose="error",
    )  # fmt: skip


def test_data_tell_the_skull(recording, templates):
    evoked, noise_cov = recording.evoked, recording.noise_cov
    forward, factor = learn_skull(evoked, templates[1], noise_cov, **COARSE)
    assert 1.4 < factor < 2.8
    wanted = change_skull(templates[1], factor, verbose=False)
    np.testing.assert_array_equal(forward["sol"]["data"], wanted["sol"]["data"])
    truth = np.linalg.norm(recording.stc.data, axis=-1)
    distances = []
    for given in (templates[1], forward):
        stc = apply_kron_bayes(evoked, given, noise_cov, **COARSE)
        found = np.linalg.norm(stc.data, axis=-1)
        distances.append(1 - truth @ found / np.linalg.norm(truth) / np.linalg.norm(found))
    assert distances[1] < 0.6 * distances[0]


def test_data_of_the_given_skull_leave_it(recording, templates):
    _, factor = learn_skull(recording.evoked, templates[2], recording.noise_cov, **COARSE)
    assert 0.75 < factor < 1.33


def test_forward_solutions_of_one_s_own_within_bounds(recording, templates):
    asked = []

    def own(factor):
        asked.append(factor)
        return templates[min(templates, key=lambda known: abs(known - factor))]

    forward, factor = learn_skull(
        recording.evoked, own, recording.noise_cov, bounds=(0.5, 3), **COARSE
    )
    assert min(asked) >= 0.5
    assert max(asked) <= 3
    assert forward is templates[2]
    assert factor == 2


def test_bounds(recording, templates):
    with pytest.warns(RuntimeWarning, match=r"at the bound, a skull that conducts 1\.2 times"):
        _, factor = learn_skull(
            recording.evoked, templates[1], recording.noise_cov, bounds=(1, 1.2), **COARSE
        )
    assert factor == pytest.approx(1.2)
    with pytest.raises(ValueError, match=r"bounds must be positive numbers around 1, got \(2, 4\)"):
        learn_skull(recording.evoked, templates[1], recording.noise_cov, bounds=(2, 4))
