"""Solvers as plugins: whatever is registered under the entry-point group can be used by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec

from mne.utils import warn

from mne_invkit.inverse.result import Result

GROUP = "mne_invkit.solvers"


@dataclass(frozen=True)
class Solver:
    """An inverse solution that the command line, the demo, reports and benchmarks can use.

    Attributes
    ----------
    name : str
        Short name.
    fit : callable
        ``fit(inst, forward, noise_cov, *, verbose=None, **options)``, returns a
        :class:`mne_invkit.inverse.result.Result`.
    description : str
        One line for people.
    needs : tuple of str
        Optional modules of which one must be installed; none are needed if empty.
    result : type | None
        Class of its results, if these are of a class of its own: :func:`mne_invkit.read_result`
        restores them by its method `unpack`.
    check : callable | None
        ``check(**options)`` raises where options have no meaning. The command line calls it
        before it reads a file.
    """

    name: str
    fit: Callable[..., Result]
    description: str
    needs: tuple[str, ...] = ()
    result: type | None = None
    check: Callable[..., None] | None = None

    @property
    def missing(self) -> str:
        """What to install before use; empty if the solver is ready."""
        ready = not self.needs or any(find_spec(name) for name in self.needs)
        return "" if ready else " or ".join(self.needs)


def find_solvers() -> dict[str, Solver]:
    """Find all registered solvers.

    Returns
    -------
    solvers : dict of Solver
        By name. A plugin that fails to load is left out with a warning.

    Examples
    --------
    >>> from mne_invkit import find_solvers
    >>> sorted(find_solvers())
    ['eloreta', 'kronbayes', 'piunet']
    """
    solvers = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            solver = entry.load()
            if not isinstance(solver, Solver):
                raise TypeError(f"expected a Solver, got {type(solver).__name__}")
            solvers[entry.name] = solver
        except Exception as error:  # a broken plugin must not take the others down
            warn(f"The solver {entry.name!r} of {entry.value!r} cannot be loaded: {error!r}")
    return solvers


def get_solver(name: str) -> Solver:
    """Return a registered solver.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    solver : Solver
        The solver.
    """
    solvers = find_solvers()
    if name not in solvers:
        raise ValueError(f"There is no solver {name!r}; installed are {sorted(solvers)}.")
    return solvers[name]
