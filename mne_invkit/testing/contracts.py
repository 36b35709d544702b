"""What every solver has to keep: one function for each contract, its docstring the sentence."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_invkit.inverse.priors import check_pick_ori
from mne_invkit.inverse.result import Result
from mne_invkit.inverse.stc import STC_CLASSES, dense_data
from mne_invkit.report import make_report
from mne_invkit.solvers.registry import Solver
from mne_invkit.testing.case import Case

_PARTS = (*Result.__annotations__, "dipoles", "figures")
_SCALE = 3.0  # of amplitudes, to see whether the unit is what the result says
_RTOL = 1e-3  # learning solvers stop by a tolerance


def check_signature(solver: Solver) -> None:
    """A solver has a name, a description, and ``fit(inst, forward, noise_cov, *, verbose)``."""

    def require(kept, sentence):
        if not kept:
            raise AssertionError(f"Solver {getattr(solver, 'name', solver)!r}: {sentence}")

    require(isinstance(solver, Solver), "it must be a mne_invkit.Solver(name=..., fit=...).")
    require(solver.name and solver.description, "name and description must not be empty.")
    require(not solver.missing, f"it needs {solver.missing}, which is not installed.")
    parameters = list(inspect.signature(solver.fit).parameters.values())
    wanted = "fit must have the signature fit(inst, forward, noise_cov=None, *, ..., verbose=None)"
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    require(len(named) == 3 and named[2].name == "noise_cov", f"{wanted}.")
    require(named[1].name == "forward" and named[2].default is None, f"{wanted}.")
    options = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    require("verbose" in options, f"{wanted}: verbose is missing.")
    required = [p.name for p in options.values() if p.default is p.empty]
    require(not required, f"{wanted}: {', '.join(required)} must have a default.")


def check_result(case: Case) -> None:
    """A result has all parts of :class:`mne_invkit.inverse.result.Result`."""
    result = case.result
    missing = [name for name in _PARTS if not hasattr(result, name)]
    case.require(
        not missing,
        f"the result lacks {', '.join(sorted(missing))}; make it with mne_invkit.make_result.",
    )
    case.require(
        isinstance(result.code, str) and len(result.code.split()) >= 2,
        f"result.code is {result.code!r} and not the name and version of the solver's package: "
        "pass module=__name__ to make_result.",
    )
    case.require(
        isinstance(result.unit, str) and result.unit != "", "result.unit must be a unit's name."
    )


def check_settings(case: Case) -> None:
    """Settings hold every argument of ``fit``, so that a report says how to do it again."""
    parameters = inspect.signature(case.solver.fit).parameters.values()
    names = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} | {"noise_cov", "rank"}
    missing = sorted(names - {"verbose"} - set(case.result.settings))
    case.require(not missing, f"result.settings lacks the arguments {', '.join(missing)}.")


def check_estimate(case: Case) -> None:
    """The estimate has the class, the vertices and the times that data and forward ask for."""
    stc, src = case.result.stc, case.forward["src"]
    wanted = STC_CLASSES[src.kind, False]
    case.require(
        type(stc) is wanted, f"the estimate is a {type(stc).__name__} and not a {wanted.__name__}."
    )
    case.require(
        len(stc.times) == len(case.evoked.times) and np.allclose(stc.times, case.evoked.times),
        "the estimate has not the times of the data.",
    )
    data = dense_data(stc, src)
    case.require(np.isfinite(data).all(), "the estimate is not finite (NaN or infinite).")
    case.require(data.any(), "the estimate is zero although there are two strong sources.")


def check_orientations(case: Case) -> None:
    """``pick_ori`` gives vectors or normals; what cannot be had is refused by a ValueError."""
    if "pick_ori" not in inspect.signature(case.solver.fit).parameters:
        return
    for pick_ori in ("vector", "normal", "bogus"):
        try:
            check_pick_ori(pick_ori, case.forward)
        except ValueError:
            try:
                case.fit(pick_ori=pick_ori)
            except ValueError:
                continue
            case.require(False, f"pick_ori={pick_ori!r} cannot be had here, but nothing is said.")
        stc = case.fit(pick_ori=pick_ori).stc
        wanted = STC_CLASSES[case.forward["src"].kind, pick_ori == "vector"]
        case.require(type(stc) is wanted, f"pick_ori={pick_ori!r} gives a {type(stc).__name__}.")
    vectors = dense_data(case.fit(pick_ori="vector").stc, case.forward["src"])
    lengths, data = (
        np.linalg.norm(vectors, axis=1),
        dense_data(case.result.stc, case.forward["src"]),
    )
    case.require(
        _close(lengths, data), "magnitudes are not the lengths of the vectors of pick_ori='vector'."
    )


def check_residual(case: Case) -> None:
    """The residual is the projected data minus the field of the estimate."""
    result = case.result
    residual = result.residual
    case.require(isinstance(residual, mne.Evoked), "the residual of an Evoked must be an Evoked.")
    evoked = case.evoked.copy().pick(residual.ch_names).apply_proj()
    explained = 1 - np.sum(residual.data**2) / np.sum(evoked.data**2)
    case.require(-0.01 < explained <= 1, "the residual has more power than the data.")
    share = result.explained_variance
    case.require(0 <= share <= 100, f"explained_variance is {share}, not a percentage.")
    takes_ori = "pick_ori" in inspect.signature(case.solver.fit).parameters
    if result.unit != "A m" or not takes_ori:
        return
    vectors = dense_data(case.fit(pick_ori="vector").stc, case.forward["src"])
    free = mne.convert_forward_solution(case.forward, surf_ori=False)
    free = mne.pick_channels_forward(free, residual.ch_names, ordered=True)
    field = free["sol"]["data"] @ vectors.reshape(-1, vectors.shape[2])
    field -= field.mean(axis=0)  # average reference
    case.require(
        _close(field, evoked.data - residual.data, 1e-5),
        "the residual is not the data minus the field of the estimate (in A m).",
    )


def check_unit(case: Case) -> None:
    """An estimate in A m grows with the data and the noise; one without a unit does not."""
    evoked, noise_cov = case.evoked.copy(), case.noise_cov.copy()
    evoked.data *= _SCALE
    noise_cov["data"] = _SCALE**2 * noise_cov["data"]
    data, scaled = case.result.stc.data, case.fit(evoked, noise_cov=noise_cov).stc.data
    factor = _SCALE if case.result.unit == "A m" else 1.0
    case.require(
        scaled.shape == data.shape and _close(scaled, factor * data),
        f"data and noise of {_SCALE:g} times the size do not give {factor:g} times the estimate, "
        f"as those in {case.result.unit} do.",
    )


def check_inputs_unchanged(case: Case) -> None:
    """Nothing that the user passed is changed, not even its bad epochs."""
    before = _fingerprint(case.evoked, case.forward, case.noise_cov)
    case.fit(case.evoked)
    after = _fingerprint(case.evoked, case.forward, case.noise_cov)
    case.require(before == after, "fit changes data, forward solution or noise covariance.")
    epochs = case.epochs.copy()
    stcs = case.fit(epochs).stc
    case.require(len(epochs.events) == 3, "fit drops the bad epochs of the user's own object.")
    case.require(
        isinstance(stcs, list) and len(stcs) == 2, "fit of Epochs must give an estimate for each."
    )


def check_result_owns_its_data(case: Case) -> None:
    """A result is the same whatever happens to the data after the fit."""
    evoked = case.evoked.copy()
    result = case.fit(evoked)
    evoked.crop(0.02, 0.05)
    evoked.data[:] = 0
    case.require(
        _close(result.residual.data, case.result.residual.data)
        and _close(result.stc.data, case.result.stc.data),
        "the result reads the user's data after the fit: keep copies.",
    )


def check_repeats(case: Case) -> None:
    """The same call gives the same estimate, and leaves numpy's global random numbers alone."""
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    again = case.fit()
    after = pickle.dumps(np.random.get_state())  # noqa: NPY002
    case.require(
        np.array_equal(again.stc.data, case.result.stc.data), "two equal calls differ: fix a seed."
    )
    case.require(
        before == after,
        "fit draws from numpy's global random numbers: use numpy.random.default_rng(rng).",
    )


def check_pickles(case: Case) -> None:
    """Solver and result survive pickling, as parallel jobs need."""
    try:
        copies = pickle.loads(pickle.dumps((case.solver, case.result)))
    except Exception as error:
        case.require(False, f"solver or result cannot be pickled: {error}.")
    case.require(_close(copies[1].stc.data, case.result.stc.data), "pickling changes the estimate.")


def check_list_of_evokeds(case: Case) -> None:
    """Several Evokeds give a list of estimates and one of residuals."""
    result = case.fit([case.evoked.copy(), case.evoked.copy()])
    case.require(
        isinstance(result.stc, list) and len(result.stc) == 2,
        "fit of a list of two Evokeds must give a list of two estimates.",
    )
    case.require(
        isinstance(result.residual, list) and len(result.residual) == 2,
        "fit of a list of two Evokeds must give a list of two residuals.",
    )


def check_wrong_input(case: Case) -> None:
    """What is no forward solution is refused by a TypeError or ValueError with a sentence."""
    try:
        case.solver.fit(case.evoked, "forward.fif", case.noise_cov, **case.options)
    except (TypeError, ValueError) as error:
        case.require("forward" in str(error), f"a wrong forward is refused by {error!r} only.")
    else:
        case.require(False, "a wrong forward solution is not refused.")


def check_unusable_data(case: Case) -> None:
    """Data without values, of standard errors, complex or masked are refused by a sentence."""
    error, complex_, masked = (case.evoked.copy() for _ in range(3))
    error.kind = "standard_error"
    complex_.data = complex_.data * (1 + 1j)
    masked.data = np.ma.masked_less(masked.data, 0)
    for what, inst in {
        "an Info": case.evoked.info, "a standard error": error, "a complex Evoked": complex_,
        "a masked Evoked": masked,
    }.items():  # fmt: skip
        try:
            case.fit(inst)
        except (TypeError, ValueError):
            continue
        case.require(False, f"{what} is solved like an average: call prepare_problem with it.")


def check_report(case: Case) -> None:
    """The result can be reported."""
    report = make_report({case.solver.name: case.result}, case.evoked, case.forward)
    plt.close("all")
    case.require(
        any(case.result.code in part for part in report.html),
        "the report does not name the solver's code.",
    )


CONTRACTS: tuple[Callable[[Case], None], ...] = (
    check_result,
    check_settings,
    check_estimate,
    check_orientations,
    check_residual,
    check_unit,
    check_inputs_unchanged,
    check_result_owns_its_data,
    check_repeats,
    check_pickles,
    check_list_of_evokeds,
    check_wrong_input,
    check_unusable_data,
)
"""What every solver has to keep for every kind of source space."""


def _close(found: np.ndarray, wanted: np.ndarray, rtol: float = _RTOL) -> bool:
    """Are two arrays alike, relative to the largest value."""
    return bool(np.abs(found - wanted).max() <= rtol * np.abs(wanted).max())


def _fingerprint(evoked, forward, noise_cov) -> tuple:
    """All that must not change, in bytes."""
    arrays = (evoked.data, forward["sol"]["data"], forward["source_nn"], noise_cov["data"])
    words = (evoked.ch_names, evoked.info["bads"], len(evoked.info["projs"]), evoked.proj)
    return tuple(array.tobytes() for array in arrays) + words
