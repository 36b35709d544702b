"""Fits in HDF5 files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import h5io

from mne_invkit._files import check_new, write_whole
from mne_invkit.inverse.files import pack_problem, unpack_problem
from mne_invkit.inverse.problem import InverseProblem
from mne_kronbayes.kernel.posterior import OwnTimePosterior, SharedTimePosterior
from mne_kronbayes.kernel.result import DughResult

_TITLE = "mne_kronbayes"
_POSTERIORS = {kind.__name__: kind for kind in (SharedTimePosterior, OwnTimePosterior)}


def write_fit(
    fname, problem: InverseProblem, learned: DughResult, settings: dict, code: str, *,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write a fit.

    Parameters
    ----------
    fname : path-like
        File name, which ends with ``.h5``.
    problem : InverseProblem
        The prepared problem.
    learned : DughResult
        What was learned.
    settings : dict
        Arguments of the solver.
    code : str
        Package and version of the solver.
    overwrite : bool
        Replace a file that exists.
    """
    fname = Path(fname)
    if fname.suffix not in (".h5", ".hdf5"):
        raise ValueError(f"The file name must end with .h5, got {fname.name}.")
    check_new(fname, overwrite)
    arrays = {f.name: getattr(learned, f.name) for f in fields(DughResult)}
    stored = {
        "problem": pack_problem(problem),
        "learned": arrays | {"posterior": vars(learned.posterior)},
        "posterior": type(learned.posterior).__name__,
        "settings": {k: getattr(v, "__name__", v) for k, v in settings.items()},
        "code": code,
    }
    with write_whole(fname) as made:
        h5io.write_hdf5(made, stored, title=_TITLE)


def read_fit(fname) -> tuple[InverseProblem, DughResult, dict, str]:
    """Read what :func:`write_fit` wrote.

    Parameters
    ----------
    fname : path-like
        File name.

    Returns
    -------
    fit : tuple
        Problem, what was learned, settings and code, as :func:`write_fit` takes them.
    """
    if not Path(fname).is_file():
        raise FileNotFoundError(f"There is no file {fname}.")
    stored = h5io.read_hdf5(fname, title=_TITLE)
    learned = stored["learned"]
    learned["posterior"] = _POSTERIORS[stored["posterior"]](**learned["posterior"])
    learned["converged"] = bool(learned["converged"])
    problem = unpack_problem(stored["problem"])
    return problem, DughResult(**learned), stored["settings"], stored["code"]
