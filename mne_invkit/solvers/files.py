"""Results of all solvers, from their files."""

from __future__ import annotations

from pathlib import Path

from mne.utils import verbose

from mne_invkit._docs import fill_doc
from mne_invkit.inverse.files import read_parts, unpack
from mne_invkit.inverse.result import InverseResult, Result
from mne_invkit.solvers.registry import find_solvers


@verbose
@fill_doc
def read_result(fname: str | Path, *, verbose=None) -> Result:
    """Read a result that its method `save` wrote.

    Nothing in the file is executed or imported, and a damaged file is refused.

    Parameters
    ----------
    fname : path-like
        File name.
    %(verbose)s

    Returns
    -------
    result : Result
        The result, of the class of the one that was saved, which can do all that this could.

    Raises
    ------
    ValueError
        If the file is damaged, is of a newer version or of a solver that is not installed.

    Examples
    --------
    >>> result.save("result.h5")  # doctest: +SKIP
    >>> again = read_result("result.h5")  # doctest: +SKIP
    """
    kind, parts = read_parts(fname)
    if kind == InverseResult.file_kind:
        return unpack(fname, InverseResult.unpack, parts)
    solver = find_solvers().get(kind)
    if solver is None or solver.result is None:
        raise ValueError(
            f"{fname} holds {kind!r}, and no installed solver has such results: install its "
            "package, or read an operator with mne_piunet.read_piunet."
        )
    return unpack(fname, solver.result.unpack, parts)
