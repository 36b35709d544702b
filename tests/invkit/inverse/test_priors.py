"""Options of orientation and depth that do not fit are refused; looseness goes by kind."""

from functools import partial

import mne
import numpy as np
import pytest

from mne_invkit.inverse.problem import prepare_problem

prepare = partial(prepare_problem, verbose=False)


@pytest.fixture
def given(eeg_evoked, forwards, eeg_cov):
    return dict(inst=eeg_evoked, forward=forwards["volume"], noise_cov=eeg_cov)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("surface", dict(loose=-0.1), "between 0 .* and 1"),
        ("surface", dict(loose=1.5), "between 0 .* and 1"),
        ("surface", dict(loose=np.nan), "between 0 .* and 1"),
        ("surface", dict(loose="free"), '"auto"'),
        ("surface", dict(loose=None), '"auto"'),
        ("surface", dict(loose=dict(volume=1.0)), "keys .*surface"),
        ("volume", dict(loose=0.2), "no normal.*dict"),
        ("volume", dict(loose=0), "no normal.*dict"),
        ("volume", dict(fixed=True), "no normal.*dict"),
        ("mixed", dict(loose=dict(surface=0.2)), "keys .*discrete.*surface"),
        ("surface", dict(fixed=True, loose=0.2), 'loose=0 or "auto"'),
        ("surface", dict(fixed=False, loose=0), 'fixed="auto"'),
        ("surface", dict(fixed="yes"), "True, False"),
        ("surface", dict(depth=-0.1), "between 0 .* and 1"),
        ("surface", dict(depth=2.0), "between 0 .* and 1"),
        ("surface", dict(depth=dict(exponent=0.8)), "unknown keys .*exponent.*knows.*exp"),
    ],
)
def test_unfit_options(given, forwards, kind, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(**(given | dict(forward=forwards[kind]) | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(), "pass loose=0"),
        (dict(loose=1.0), "pass loose=0"),
        (dict(loose=0, depth=dict(exp=0.8, allow_fixed_depth=False)), "pass depth=None"),
    ],
)
def test_fixed_forward_cannot_be_freed(given, forwards, options, message):
    fixed = mne.convert_forward_solution(
        forwards["surface"], surf_ori=True, force_fixed=True, verbose="error"
    )
    with pytest.raises(ValueError, match=message):
        prepare(**(given | dict(forward=fixed) | options))


def test_looseness_by_kind(given, forwards):
    given["forward"] = forwards["mixed"]
    problem = prepare(**given, loose=dict(surface=0.04, discrete=1.0), depth=None)
    std = problem.source_std.reshape(-1, 3) / problem.source_std.max()
    n_surface = sum(s["nuse"] for s in forwards["mixed"]["src"][:2])
    np.testing.assert_allclose(std[:n_surface], np.tile([0.2, 0.2, 1], (n_surface, 1)))
    np.testing.assert_allclose(std[n_surface:], 1)
