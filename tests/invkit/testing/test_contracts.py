"""Our solvers keep every contract, and a broken solver is told which one it breaks."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import mne
import numpy as np
import pytest

from mne_invkit import get_solver, make_result, prepare_problem
from mne_invkit.solvers.registry import Solver
from mne_invkit.testing import CONTRACTS, KINDS, check_solver

GUIDE = Path(__file__).parents[3] / "CONTRIBUTING.md"


@pytest.mark.parametrize(
    ("name", "kinds", "options"),
    [
        ("eloreta", KINDS, {}),
        ("kronbayes", KINDS, {}),
        ("kronbayes", ["discrete"], dict(temporal="identity", noise_temporal="white", sparse=True)),
        ("piunet", KINDS, {}),
    ],
    ids=["eloreta", "kronbayes", "kronbayes-white", "piunet"],
)
def test_ours_keep_all(name, kinds, options):
    solver = get_solver(name)
    if solver.missing:
        pytest.skip(f"{name} needs {solver.missing}")
    check_solver(solver, kinds=kinds, **options)


def test_solver_of_the_contributing_guide_keeps_all(monkeypatch):
    text = GUIDE.read_text(encoding="utf-8")
    guide = ModuleType("ridge_of_the_guide")
    guide.__version__ = "1.0"
    monkeypatch.setitem(sys.modules, guide.__name__, guide)
    exec(re.search(r"```python\n([^`]*RIDGE = Solver\([^`]*)```", text)[1], vars(guide))
    check_solver(guide.RIDGE, kinds=["discrete", "volume"])


# %% Broken solvers


def fit_ridge(inst, forward, noise_cov=None, *, lambda2=0.1, rank=None, pick_ori=None,
              verbose=None):  # fmt: skip
    problem = prepare_problem(inst, forward, noise_cov, rank=rank, verbose=verbose)
    gain = problem.gain
    found = gain.T @ np.linalg.solve(gain @ gain.T + lambda2 * np.eye(len(gain)), problem.data)
    settings = {"lambda2": lambda2}
    return make_result(
        problem, found, module="mne_invkit", pick_ori=pick_ori, settings=settings, verbose=verbose
    )


SOUND = Solver(name="sound", fit=fit_ridge, description="Minimum norm")


def check(fit):
    check_solver(replace(SOUND, name="broken", fit=fit), kinds=["discrete"])


class After:
    """Fit whose result is changed afterwards."""

    def __init__(self, change):
        self.change = change

    def __call__(self, inst, forward, noise_cov=None, *, lambda2=0.1, pick_ori=None, verbose=None):
        result = fit_ridge(inst, forward, noise_cov, lambda2=lambda2, pick_ori=pick_ori)
        return self.change(result, inst)


def fit_without_verbose(inst, forward, noise_cov=None, *, alpha=1.0):
    raise AssertionError("never called")


def fit_with_required_option(inst, forward, noise_cov=None, *, alpha, verbose=None):
    raise AssertionError("never called")


def fit_other_names(evoked, fwd, cov, *, verbose=None):
    raise AssertionError("never called")


class Bare:
    """A result that has an estimate and nothing else."""

    def __init__(self, result):
        self.stc = result.stc


def bare(result, inst):
    return Bare(result)


def no_code(result, inst):
    return replace(result, code="")


def lost_settings(result, inst):
    return replace(result, settings={"pick_ori": result.settings["pick_ori"], "rank": None})


def other_times(result, inst):
    for stc in result.stc if isinstance(result.stc, list) else [result.stc]:
        stc.tmin += 1.0
    return result


def not_a_number(result, inst):
    found = result.found.copy()
    found[:, 0] = np.nan
    return replace(result, found=found)


def silent(result, inst):
    return replace(result, found=0 * result.found)


def wrong_residual(result, inst):
    if isinstance(result.residual, mne.Evoked):
        result.residual.data *= 0.5
    return result


def wrong_unit(result, inst):
    """Amplitudes that are called dSPM."""
    return replace(result, unit="dSPM")


def scales_the_data(result, inst):
    if isinstance(inst, mne.Evoked):
        inst.data *= 1.0 + 1e-9
    return result


def drops_epochs(result, inst):
    if isinstance(inst, mne.BaseEpochs):
        inst.drop_bad()
    return result


def reads_the_data_later(result, inst):
    """Right as long as the user leaves the data alone."""
    if not isinstance(inst, mne.Evoked):
        return result
    before = inst.data.copy()

    class Late(type(result)):
        @property
        def residual(self):
            residual = super().residual.copy()
            residual.data *= np.array_equal(inst.data, before)
            return residual

    return Late(**{name: getattr(result, name) for name in result.__dataclass_fields__})


COUNT = iter(range(1000))


def not_the_same(result, inst):
    return replace(result, found=result.found * (1 + 1e-7 * next(COUNT)))


def global_random_numbers(result, inst):
    np.random.rand()  # noqa: NPY002
    return result


def cannot_be_pickled(result, inst):
    return replace(result, settings={**result.settings, "function": lambda: 0})


def no_list(result, inst):
    if isinstance(inst, list):
        problem = result.problem
        first = replace(problem, data=problem.data[:1], insts=problem.insts[:1])
        return replace(result, found=result.found[:1], problem=first)
    return result


def test_sound_solver_passes():
    check_solver(SOUND, kinds=["discrete"])


@pytest.mark.parametrize(
    ("fit", "sentence"),
    [
        (fit_without_verbose, "verbose is missing"),
        (fit_with_required_option, "alpha must have a default"),
        (fit_other_names, r"must have the signature fit\(inst, forward, noise_cov=None"),
        (After(bare), "the result lacks .*dipoles.*make_result"),
        (After(no_code), "name and version of the solver's package: pass module="),
        (After(lost_settings), "settings lacks the arguments lambda2, noise_cov"),
        (After(other_times), "not the times of the data"),
        (After(not_a_number), "not finite"),
        (After(silent), "zero although there are two strong sources"),
        (After(wrong_residual), "residual is not the data minus the field of the estimate"),
        (After(wrong_unit), "do not give 1 times the estimate"),
        (After(scales_the_data), "changes data, forward solution or noise covariance"),
        (After(drops_epochs), "drops the bad epochs of the user's own object"),
        (After(reads_the_data_later), "reads the user's data after the fit"),
        (After(not_the_same), "two equal calls differ"),
        (After(global_random_numbers), "global random numbers"),
        (After(cannot_be_pickled), "cannot be pickled"),
        (After(no_list), "list of two"),
    ],
)
def test_broken_solver_fails_with_a_sentence(fit, sentence):
    with pytest.raises(AssertionError, match=f"^Solver 'broken'.*({sentence})"):
        check(fit)


def fit_eats_everything(inst, forward, noise_cov=None, *, verbose=None):
    if not isinstance(forward, mne.Forward):
        return None
    return fit_ridge(inst, forward, noise_cov)


def test_wrong_input_must_be_refused():
    with pytest.raises(AssertionError, match="a wrong forward solution is not refused"):
        check(fit_eats_everything)


def fit_the_real_part(inst, forward, noise_cov=None, *, lambda2=0.1, rank=None, pick_ori=None,
                      verbose=None):  # fmt: skip
    if isinstance(inst, mne.Evoked) and np.iscomplexobj(inst.data):
        inst = inst.copy()
        inst.data = inst.data.real
    return fit_ridge(inst, forward, noise_cov, lambda2=lambda2, pick_ori=pick_ori)


def test_unusable_data_must_be_refused():
    with pytest.raises(AssertionError, match="a complex Evoked is solved like an average"):
        check(fit_the_real_part)


def test_unknown_kind_and_missing_module_are_told():
    with pytest.raises(ValueError, match="kind must be one of surface"):
        check_solver(SOUND, kinds=["cortex"])
    with pytest.raises(AssertionError, match="needs a_missing_module, which is not installed"):
        check_solver(replace(SOUND, needs=("a_missing_module",)))


def test_every_contract_says_what_it_is():
    assert all(contract.__doc__.endswith(".") for contract in CONTRACTS)
