"""Another conductivity of the skull, in forward solutions and from the data."""

import mne
import numpy as np
import pytest

from mne_invkit.heads.conductivity import change_skull
from mne_invkit.heads.template import template_forward
from mne_invkit.metrics.estimates import score
from mne_invkit.simulation.evoked import simulate_evoked
from mne_kronbayes import apply_kron_bayes, learn_skull


def fields(forward, picks=slice(None)):
    """Fields of all sources against the average reference, of length one."""
    gain = forward["sol"]["data"][picks]
    gain = gain - gain.mean(axis=0)
    return gain / np.linalg.norm(gain, axis=0)


@pytest.fixture(scope="module")
def templates(eeg_info):
    """Forward solutions of the template by how well its skull conducts."""
    return {
        factor: template_forward(
            eeg_info, spacing="ico3", conductivity=(0.3, 0.006 * factor, 0.3), verbose=False
        )
        for factor in (1, 2)
    }


# %% The forward solution


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_spheres_become_spheres_of_another_skull(eeg_info, factor):
    def spheres(skull):
        sphere = mne.make_sphere_model(
            [0, 0, 0.04], 0.095, relative_radii=(8 / 9.2, 8.5 / 9.2, 1), sigmas=(0.3, skull, 0.3),
            verbose=False,
        )  # fmt: skip
        return mne.make_forward_solution(info, None, src, sphere, verbose=False)

    src = mne.setup_volume_source_space(
        pos=15.0, sphere=(0, 0, 0.04, 0.08), sphere_units="m", verbose=False
    )
    info, places = eeg_info.copy(), {}
    for name, position in info.get_montage().get_positions()["ch_pos"].items():
        outward = position - [0, 0, 0.04]
        places[name] = [0, 0, 0.04] + 0.095 * outward / np.linalg.norm(outward)
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    wanted = spheres(0.006 * factor)["sol"]["data"]
    before = spheres(0.006)["sol"]["data"]
    found = change_skull(spheres(0.006), factor, verbose=False)["sol"]["data"]
    errors = [
        np.median(np.ptp(gain - wanted, axis=0) / np.ptp(wanted, axis=0))
        for gain in (before, found)
    ]
    assert errors[0] > 0.2
    assert errors[1] < 0.2 * errors[0]


def test_template_gets_near_that_of_its_bem(templates):
    before, wanted = fields(templates[1]), fields(templates[2])
    found = fields(change_skull(templates[1], 2.0, verbose=False))
    errors = [np.median(np.linalg.norm(f - wanted, axis=0)) for f in (before, found)]
    assert errors[0] > 0.07
    assert errors[1] < 0.4 * errors[0]


def test_same_conductivity_changes_nothing(templates):
    same = change_skull(templates[1], 1.0, verbose=False)
    np.testing.assert_allclose(same["sol"]["data"], templates[1]["sol"]["data"], rtol=1e-12)


def test_meg_is_left_alone_and_any_orientation_is_changed(meeg_forward):
    before = meeg_forward["sol"]["data"].copy()
    changed = change_skull(meeg_forward, 2.0, verbose=False)
    np.testing.assert_array_equal(meeg_forward["sol"]["data"], before)
    meg = mne.pick_types(meeg_forward["info"], meg=True)
    eeg = mne.pick_types(meeg_forward["info"], meg=False, eeg=True)
    np.testing.assert_array_equal(changed["sol"]["data"][meg], before[meg])
    assert np.linalg.norm(fields(changed, eeg) - fields(meeg_forward, eeg), axis=0).min() > 0.01

    def fixed(forward):
        return mne.convert_forward_solution(forward, force_fixed=True, verbose=False)

    after = change_skull(fixed(meeg_forward), 2.0, verbose=False)
    wanted = fixed(changed)["sol"]["data"]
    np.testing.assert_allclose(after["sol"]["data"], wanted, rtol=1e-4, atol=1e-6 * wanted.max())


def test_errors_say_what_is_wrong(templates, meeg_forward):
    with pytest.raises(ValueError, match="factor must be a positive number, got 0"):
        change_skull(templates[1], 0)
    with pytest.raises(ValueError, match=r"0 electrodes, fewer than 8.*does not matter for MEG"):
        change_skull(mne.pick_types_forward(meeg_forward, meg=True), 2.0)


# %% From the data


@pytest.fixture(scope="module")
def recording(templates, eeg_info):
    """Three sources below a skull that conducts twice as well."""
    return simulate_evoked(
        templates[2], eeg_info, sources=3, orientation="normal", snr_db=10, n_trials=20,
        tmax=0.19, rng=3, verbose="error",
    )  # fmt: skip


def test_data_tell_the_skull(recording, templates):
    evoked, noise_cov = recording.evoked, recording.noise_cov
    options = dict(occam=2, noise="scalar")
    forward, factor = learn_skull(evoked, templates[1], noise_cov, **options)
    assert 1.4 < factor < 2.8
    wanted = change_skull(templates[1], factor, verbose=False)
    np.testing.assert_array_equal(forward["sol"]["data"], wanted["sol"]["data"])
    emd = [
        score(
            recording.stc,
            apply_kron_bayes(evoked, f, noise_cov, pick_ori="vector", **options),
            forward["src"],
        )["normalized_emd"]
        for f in (templates[1], forward)
    ]
    assert emd[1] < 0.6 * emd[0]


def test_data_of_the_given_skull_leave_it(recording, templates):
    _, factor = learn_skull(recording.evoked, templates[2], recording.noise_cov, occam=2)
    assert 0.75 < factor < 1.33


def test_forward_solutions_of_one_s_own_within_bounds(recording, templates):
    asked = []

    def own(factor):
        asked.append(factor)
        return templates[min(templates, key=lambda known: abs(known - factor))]

    forward, factor = learn_skull(
        recording.evoked, own, recording.noise_cov, bounds=(0.5, 3), occam=2
    )
    assert min(asked) >= 0.5
    assert max(asked) <= 3
    assert forward is templates[2]
    assert factor == 2


def test_bounds(recording, templates):
    with pytest.warns(RuntimeWarning, match=r"at the bound, a skull that conducts 1\.2 times"):
        _, factor = learn_skull(
            recording.evoked, templates[1], recording.noise_cov, bounds=(1, 1.2), occam=2
        )
    assert factor == pytest.approx(1.2)
    with pytest.raises(ValueError, match=r"bounds must be positive numbers around 1, got \(2, 4\)"):
        learn_skull(recording.evoked, templates[1], recording.noise_cov, bounds=(2, 4))
