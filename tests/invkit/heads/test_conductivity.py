"""Another conductivity of the skull in a forward solution."""

import mne
import numpy as np
import pytest

from mne_invkit._mne import set_gain
from mne_invkit.heads.conductivity import change_skull
from mne_invkit.heads.template import template_forward


def fields(forward, picks=slice(None)):
    """Fields of all components against the average reference."""
    gain = forward["sol"]["data"][picks]
    return gain - gain.mean(axis=0)


def of_length_one(gain):
    return gain / np.linalg.norm(gain, axis=0)


@pytest.fixture(scope="module")
def template(eeg_info):
    return template_forward(eeg_info, spacing="ico3", verbose=False)


@pytest.mark.parametrize(("factor", "before"), [(0.3, 0.83), (3.0, 0.29)])
def test_spheres_become_spheres_of_another_skull(eeg_info, factor, before):
    """The typical field is wrong by `before` if nothing is done, and by 5 % after."""

    def spheres(skull):
        sphere = mne.make_sphere_model(
            [0, 0, 0.04], 0.095, relative_radii=(8 / 9.2, 8.5 / 9.2, 1), sigmas=(0.3, skull, 0.3),
            verbose=False,
        )  # fmt: skip
        return mne.make_forward_solution(info, None, src, sphere, verbose=False)

    src = mne.setup_volume_source_space(
        pos=25.0, sphere=(0, 0, 0.04, 0.08), sphere_units="m", verbose=False
    )
    info, places = eeg_info.copy(), {}
    for name, position in info.get_montage().get_positions()["ch_pos"].items():
        outward = position - [0, 0, 0.04]
        places[name] = [0, 0, 0.04] + 0.095 * outward / np.linalg.norm(outward)
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    given, wanted = spheres(0.006), fields(spheres(0.006 * factor))
    found = change_skull(given, factor, verbose=False)
    errors = [
        np.median(np.linalg.norm(fields(f) - wanted, axis=0) / np.linalg.norm(wanted, axis=0))
        for f in (given, found)
    ]
    assert errors == pytest.approx([before, 0.05], abs=0.01)


def test_template_gets_near_that_of_its_bem(eeg_info, template):
    """Shapes of fields differ by 9 %, and by 2 % after, as the documentation says."""
    other = template_forward(
        eeg_info, spacing="ico3", conductivity=(0.3, 0.012, 0.3), verbose=False
    )
    wanted = of_length_one(fields(other))
    errors = [
        np.median(np.linalg.norm(of_length_one(fields(forward)) - wanted, axis=0))
        for forward in (template, change_skull(template, 2.0, verbose=False))
    ]
    assert errors == pytest.approx([0.09, 0.02], abs=0.005)


def test_same_conductivity_changes_nothing(template):
    same = change_skull(template, 1.0, verbose=False)
    np.testing.assert_allclose(same["sol"]["data"], template["sol"]["data"], rtol=1e-12)


def test_reference_does_not_matter_and_stays(template):
    """A constant at all electrodes is added to each field, as another reference does."""
    constants = np.random.default_rng(0).standard_normal(template["sol"]["ncol"])
    referred = template.copy()
    set_gain(referred, template["sol"]["data"] + 100 * constants)
    changed, again = (change_skull(f, 2.0, verbose=False) for f in (template, referred))
    np.testing.assert_allclose(fields(again), fields(changed), atol=1e-8)
    for before, after in [(template, changed), (referred, again)]:
        means = [f["sol"]["data"].mean(axis=0) for f in (before, after)]
        np.testing.assert_allclose(*means, atol=1e-9)


def test_order_of_electrodes_does_not_matter(template):
    names = np.random.default_rng(0).permutation(template["sol"]["row_names"]).tolist()
    shuffled = mne.pick_channels_forward(template, names, ordered=True, verbose=False)
    found = change_skull(shuffled, 2.0, verbose=False)["sol"]["data"]
    wanted = mne.pick_channels_forward(
        change_skull(template, 2.0, verbose=False), names, ordered=True, verbose=False
    )["sol"]["data"]
    np.testing.assert_allclose(found, wanted, atol=1e-9 * np.abs(wanted).max())


def test_better_skull_makes_stronger_and_sharper_fields(template):
    """Each pattern grows with the conductivity, and fine ones grow more."""
    gain = fields(template)
    patterns = np.linalg.svd(gain, full_matrices=False)[0][:, :-1]
    grown = [
        np.diag(patterns.T @ fields(change_skull(template, factor, verbose=False)) @ gain.T
                @ patterns) / np.sum((patterns.T @ gain) ** 2, axis=1)
        for factor in (0.5, 1, 2)
    ]  # fmt: skip
    assert (np.diff(grown, axis=0) > 0).all()
    for factor, change in zip((0.5, 2), np.delete(grown, 1, axis=0), strict=True):
        assert abs(np.log(change[:3])).max() < 0.7 * abs(np.log(change[-3:])).min()
        assert abs(np.log(change)).max() < abs(np.log(factor))  # the skull alone would give this


def test_meg_is_left_alone_and_any_orientation_is_changed(meeg_forward):
    before = meeg_forward["sol"]["data"].copy()
    changed = change_skull(meeg_forward, 2.0, verbose=False)
    np.testing.assert_array_equal(meeg_forward["sol"]["data"], before)
    meg = mne.pick_types(meeg_forward["info"], meg=True)
    eeg = mne.pick_types(meeg_forward["info"], meg=False, eeg=True)
    np.testing.assert_array_equal(changed["sol"]["data"][meg], before[meg])
    moved = of_length_one(fields(changed, eeg)) - of_length_one(fields(meeg_forward, eeg))
    assert np.linalg.norm(moved, axis=0).min() > 0.01

    def fixed(forward):
        return mne.convert_forward_solution(forward, force_fixed=True, verbose=False)

    after = change_skull(fixed(meeg_forward), 2.0, verbose=False)
    wanted = fixed(changed)["sol"]["data"]
    scale = np.abs(wanted).max(axis=1, keepdims=True)
    np.testing.assert_allclose(after["sol"]["data"] / scale, wanted / scale, atol=1e-6)


def test_errors_say_what_is_wrong(template, meeg_forward):
    with pytest.raises(ValueError, match="factor must be a positive number, got 0"):
        change_skull(template, 0)
    with pytest.raises(ValueError, match=r"0 electrodes, and at least 8.*does not matter for MEG"):
        change_skull(mne.pick_types_forward(meeg_forward, meg=True), 2.0)
