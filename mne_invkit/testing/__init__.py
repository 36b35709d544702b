"""The contracts of a solver as tests that the author of a plugin can run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mne.utils import use_log_level

from mne_invkit.solvers.registry import Solver
from mne_invkit.testing.case import KINDS, make_case
from mne_invkit.testing.contracts import CONTRACTS, check_report, check_signature

__all__ = ["CONTRACTS", "KINDS", "check_report", "check_signature", "check_solver", "make_case"]


def check_solver(solver: Solver, *, kinds: Sequence[str] = KINDS, **options: Any) -> None:
    """Check that a solver keeps all contracts, on small simulated EEG.

    Parameters
    ----------
    solver : Solver
        The solver.
    kinds : sequence of str
        Kinds of source spaces to check, of ``KINDS``.
    **options
        Passed to ``solver.fit``.

    Raises
    ------
    AssertionError
        If a contract is broken; the message is a sentence that says which and where.

    Notes
    -----
    The contracts are the functions of ``CONTRACTS``. A solver may refuse a kind of source
    space with a ValueError; pass the kinds that it takes.

    Examples
    --------
    >>> from mne_invkit import get_solver
    >>> from mne_invkit.testing import check_solver
    >>> check_solver(get_solver("eloreta"), kinds=["surface"])
    """
    with use_log_level("error"):
        check_signature(solver)
        cases = [make_case(solver, kind, **options) for kind in kinds]
        for case in cases:
            for contract in CONTRACTS:
                contract(case)
        check_report(cases[0])  # pictures take time
