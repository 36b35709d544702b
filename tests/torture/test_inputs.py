"""Harmless changes of the input leave the estimate as it is; harmful ones are never silent.

Hypothesis draws which changes are made, in which order, and to what. ``pytest -s`` shows how many
inputs were tried and what became of them.
"""

import warnings
from collections import Counter

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mne.io.constants import FIFF

from mne_invkit.inverse.stc import dense_data
from mne_invkit.simulation.evoked import simulate_evoked
from mne_invkit.solvers.registry import get_solver

pytestmark = pytest.mark.extended
OPTIONS = dict(eloreta={}, kronbayes=dict(noise="fixed", max_iter=1000), piunet={})
"""Solvers, with options that let small changes of rounding stay small."""


class Input:
    """What a solver is given, free to be changed."""

    def __init__(self, simulation, forward):
        old = simulation.evoked
        info = mne.create_info(old.ch_names, old.info["sfreq"], "eeg")
        info.set_montage(old.get_montage())
        evoked = mne.EvokedArray(old.data.copy(), info, tmin=old.tmin, nave=old.nave)
        self.insts = [evoked.set_eeg_reference("average", projection=True)]
        self.forward, self.noise_cov = forward.copy(), simulation.noise_cov.copy()

    @property
    def argument(self):
        return self.insts[0] if len(self.insts) == 1 else self.insts


# %% Changes after which the estimate is the same


def shuffle_channels(given, rng):
    order = [str(n) for n in rng.permutation(given.insts[0].ch_names)]
    given.insts = [inst.reorder_channels(order) for inst in given.insts]


def shuffle_forward(given, rng):
    names = [str(n) for n in rng.permutation(given.forward["sol"]["row_names"])]
    given.forward = mne.pick_channels_forward(given.forward, names, ordered=True)


def _matrix(noise_cov):
    return np.diag(noise_cov.data) if noise_cov["diag"] else noise_cov.data.copy()


def shuffle_covariance(given, rng):
    order = rng.permutation(len(given.noise_cov.ch_names))
    names = [given.noise_cov.ch_names[k] for k in order]
    data = _matrix(given.noise_cov)[np.ix_(order, order)]
    given.noise_cov = mne.Covariance(data, names, [], [], given.noise_cov["nfree"])


def add_other_channels(given, rng):
    def with_others(inst):
        info = mne.create_info(
            ["EOG 1", "STI", "note"], inst.info["sfreq"], ["eog", "stim", "misc"]
        )
        data = rng.standard_normal((3, len(inst.times)))
        other = mne.EvokedArray(data, info, tmin=inst.tmin, nave=inst.nave)
        return inst.add_channels([other], force_update_info=True)

    given.insts = [with_others(inst) for inst in given.insts]


def apply_projectors(given, rng):
    given.insts[int(rng.integers(len(given.insts)))].apply_proj()


def reference_by_hand(given, rng):
    """Leave no projector, but a mean of zero."""
    if any(inst.proj for inst in given.insts):
        return
    for inst in given.insts:
        inst.del_proj()
        eeg = mne.pick_types(inst.info, meg=False, eeg=True, exclude=[])
        inst.data[eeg] -= inst.data[eeg].mean(axis=0)


def offset_of_the_reference(given, rng):
    """Add to all electrodes what the average reference takes out."""
    for inst in given.insts:
        if inst.info["projs"] and not inst.info["projs"][0]["active"]:
            eeg = mne.pick_types(inst.info, meg=False, eeg=True, exclude=[])
            inst.data[eeg] += 1e-5 * rng.standard_normal(len(inst.times))


def move_a_little(given, rng):
    shift = rng.uniform(-0.005, 0.005, 3)
    for inst in given.insts:
        for ch in inst.info["chs"]:
            ch["loc"][:3] += shift if np.any(ch["loc"][:3]) else 0  # zero is no position


def forget_a_position(given, rng):
    for inst in given.insts:
        names = [n for n in inst.ch_names if n in given.forward["sol"]["row_names"]]
        name = str(rng.choice(names))
        inst.info["chs"][inst.ch_names.index(name)]["loc"][:3] = rng.choice([0, np.nan])


def twice(given, rng):
    given.insts = [*given.insts, given.insts[0].copy()]


def diagonal_stays_diagonal(given, rng):
    """A covariance in MNE's short form for independent channels."""
    data = _matrix(given.noise_cov)
    if not np.any(data - np.diag(np.diag(data))):
        names, nfree = given.noise_cov.ch_names, given.noise_cov["nfree"]
        given.noise_cov = mne.Covariance(np.diag(data).copy(), names, [], [], nfree)


HARMLESS = [
    shuffle_channels, shuffle_forward, shuffle_covariance, add_other_channels, apply_projectors,
    reference_by_hand, offset_of_the_reference, move_a_little, forget_a_position, twice,
    diagonal_stays_diagonal,
]  # fmt: skip
CHANNELWISE = [
    shuffle_channels, shuffle_forward, shuffle_covariance, add_other_channels, move_a_little,
    forget_a_position, twice, diagonal_stays_diagonal,
]  # fmt: skip
"""Those after which every harm is harm still: they keep the projectors as they are."""


# %% Changes that must not be silent: they spoil one member, one channel, one number


def _one(given, rng):
    inst = given.insts[int(rng.integers(len(given.insts)))]
    names = [n for n in inst.ch_names if n in given.forward["sol"]["row_names"]]
    return inst, inst.ch_names.index(str(rng.choice(names)))


def not_finite(given, rng):
    inst, row = _one(given, rng)
    inst.data[row, rng.integers(len(inst.times))] = rng.choice([np.nan, np.inf, -np.inf])


def flat(given, rng):
    _, row = _one(given, rng)
    for inst in given.insts:
        inst.data[row] = 1e-7


def complex_values(given, rng):
    inst, _ = _one(given, rng)
    inst.data = inst.data * np.exp(1j)


def masked(given, rng):
    inst, row = _one(given, rng)
    inst.data = np.ma.masked_array(inst.data, np.zeros(inst.data.shape, bool))
    inst.data[row] = np.ma.masked


def standard_error(given, rng):
    _one(given, rng)[0].kind = "standard_error"


def wrong_nave(given, rng):
    _one(given, rng)[0].nave = float(rng.choice([0, -3, np.nan]))


def wrong_unit(given, rng):
    scale = float(10.0 ** rng.choice([6, 9, -6]))
    for inst in given.insts:
        inst.data *= scale
    if rng.integers(2):
        given.noise_cov["data"] = scale**2 * given.noise_cov["data"]


def wrong_unit_of_the_noise(given, rng):
    given.noise_cov["data"] = float(10.0 ** rng.choice([12, 18, -12])) * given.noise_cov["data"]


def far_away(given, rng):
    inst, _ = _one(given, rng)
    shift = rng.standard_normal(3)
    for ch in inst.info["chs"]:
        ch["loc"][:3] += 0.06 * shift / np.linalg.norm(shift)


def in_millimetres(given, rng):
    for ch in _one(given, rng)[0].info["chs"]:
        ch["loc"][:3] *= 1000


def bipolar(given, rng):
    inst, row = _one(given, rng)
    for inst in given.insts:
        inst.info["chs"][row]["coil_type"] = FIFF.FIFFV_COIL_EEG_BIPOLAR


def reference_of_some(given, rng):
    """Make the average reference of half of the electrodes."""
    for inst in given.insts:
        inst.del_proj()
        eeg = [n for n in inst.ch_names if n in given.forward["sol"]["row_names"]]
        half = [str(n) for n in rng.permutation(eeg)[: len(eeg) // 2]]
        some = inst.copy().pick(half).set_eeg_reference("average", projection=True)
        inst.add_proj(some.info["projs"])


def no_reference(given, rng):
    for inst in given.insts:
        inst.del_proj()
        inst.data += 1e-5 * rng.standard_normal(len(inst.times))


def projector_of_one(given, rng):
    inst, _ = _one(given, rng)
    given.insts.append(given.insts[0].copy())
    eeg = [n for n in inst.ch_names if n in given.forward["sol"]["row_names"]]
    vector = rng.standard_normal((1, len(eeg)))
    data = dict(col_names=eeg, row_names=None, data=vector, nrow=1, ncol=len(eeg))
    inst.add_proj(mne.Projection(data=data, desc="blink", active=bool(rng.integers(2))))


def other_type(given, rng):
    _, row = _one(given, rng)
    kind = FIFF.FIFFV_EOG_CH if rng.integers(2) else FIFF.FIFFV_MISC_CH
    for inst in given.insts:
        inst.info["chs"][row]["kind"] = kind


def other_case(given, rng):
    names = [n for n in given.insts[0].ch_names if n in given.forward["sol"]["row_names"]]
    names = [n for n in names if n != n.upper()]
    old = str(rng.choice(names))
    for inst in given.insts:
        inst.del_proj()
        eeg = mne.pick_types(inst.info, meg=False, eeg=True)
        inst.rename_channels({old: old.upper()})
        kept = [k for k in eeg if inst.ch_names[k] != old.upper()]
        inst.data[kept] -= inst.data[kept].mean(axis=0)


def gain_not_finite(given, rng):
    given.forward["sol"]["data"] = given.forward["sol"]["data"].copy()
    given.forward["sol"]["data"][rng.integers(32), rng.integers(180)] = np.nan


def no_gain(given, rng):
    given.forward["sol"]["data"] = np.zeros_like(given.forward["sol"]["data"])


def forward_in_mri_frame(given, rng):
    given.forward["coord_frame"] = FIFF.FIFFV_COORD_MRI


def broken_covariance(given, rng):
    data = _matrix(given.noise_cov)
    k, j = rng.choice(len(data), 2, replace=False)
    change = rng.integers(3)
    data[k, k if change == 0 else j] = [-data[k, k], np.nan, 2 * data[k, k]][change]
    names, nfree = given.noise_cov.ch_names, given.noise_cov["nfree"]
    given.noise_cov = mne.Covariance(data, names, [], [], nfree)


def covariance_of_others(given, rng):
    names = [f"MEG {k}" for k in range(len(given.noise_cov.ch_names))]
    given.noise_cov["names"] = names


def few_channels_in_the_covariance(given, rng):
    kept = sorted(rng.choice(32, 20, replace=False))
    data = _matrix(given.noise_cov)
    names = [given.noise_cov.ch_names[k] for k in kept]
    given.noise_cov = mne.Covariance(data[np.ix_(kept, kept)], names, [], [], 100)


def all_bad(given, rng):
    _one(given, rng)[0].info["bads"] = list(given.forward["sol"]["row_names"])


def other_times(given, rng):
    given.insts.append(given.insts[0].copy().shift_time(0.02))


def silence(given, rng):
    for inst in given.insts:
        inst.data[:] = 0


HARMFUL = [
    not_finite, flat, complex_values, masked, standard_error, wrong_nave, wrong_unit,
    wrong_unit_of_the_noise, far_away, in_millimetres, bipolar, reference_of_some, no_reference,
    projector_of_one, other_type, other_case, gain_not_finite, no_gain, forward_in_mri_frame,
    broken_covariance, covariance_of_others, few_channels_in_the_covariance, all_bad, other_times,
    silence,
]  # fmt: skip


# %% The tests


@pytest.fixture(scope="module")
def simulation(eeg_info, forwards):
    return simulate_evoked(
        forwards["discrete"], eeg_info, sources=[10, 40], snr_db=10, n_trials=5, tmax=0.19, rng=0,
        verbose="error",
    )  # fmt: skip


@pytest.fixture(scope="module")
def count():
    count = Counter()
    yield count
    print("\n" + ", ".join(f"{what}: {n}" for what, n in sorted(count.items())))


@pytest.fixture(scope="module", params=sorted(OPTIONS))
def solve(request, simulation, forwards):
    """Estimate of an input by a solver, and what was warned of."""
    solver = get_solver(request.param)
    if solver.missing:
        pytest.skip(f"needs {solver.missing}")

    def solve(given):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = solver.fit(
                given.argument, given.forward, given.noise_cov, verbose="warning",
                **OPTIONS[request.param],
            )  # fmt: skip
            stcs = result.stc if isinstance(result.stc, list) else [result.stc]
        return [dense_data(s, given.forward["src"]) for s in stcs], [str(w.message) for w in caught]

    solve.name = request.param
    (solve.wanted,), solve.warned = solve(Input(simulation, forwards["discrete"]))
    return solve


SETTINGS = settings(
    max_examples=150, deadline=None, print_blob=True, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@SETTINGS
@given(
    changes=st.lists(st.sampled_from(HARMLESS), max_size=5, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_harmless_changes_do_not_matter(changes, seed, solve, simulation, forwards, count):
    given = Input(simulation, forwards["discrete"])
    rng = np.random.default_rng(seed)
    for change in changes:
        change(given, rng)
    found, warned = solve(given)
    assert set(warned) <= set(solve.warned)
    limit = 1e-3 if solve.name == "piunet" or len(found) > 1 else 1e-5
    for data in found:
        if len(found) == 1 or solve.name != "kronbayes":  # which learns from all of a list
            error = np.abs(data - solve.wanted).max() / np.abs(solve.wanted).max()
            assert error < limit
        assert np.isfinite(data).all()
    count[f"{solve.name}, harmless"] += 1


@SETTINGS
@given(
    changes=st.lists(st.sampled_from(CHANNELWISE), max_size=3, unique=True),
    harm=st.sampled_from(HARMFUL),
    seed=st.integers(0, 2**32 - 1),
)
def test_harmful_changes_are_not_silent(changes, harm, seed, solve, simulation, forwards, count):
    given = Input(simulation, forwards["discrete"])
    rng = np.random.default_rng(seed)
    for change in changes:
        change(given, rng)
    harm(given, rng)
    try:
        _, warned = solve(given)
    except (ValueError, TypeError) as error:
        sentence = str(error)
    else:
        sentence = " ".join(set(warned) - set(solve.warned))
    assert len(sentence) > 30
    assert sentence.rstrip().endswith(".")
    count[f"{solve.name}, harmful"] += 1
