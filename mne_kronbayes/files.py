"""What was learned as plain values and arrays, for files."""

from __future__ import annotations

from dataclasses import fields

from mne_kronbayes.kernel.posterior import OwnTimePosterior, SharedTimePosterior
from mne_kronbayes.kernel.result import DughResult

_POSTERIORS = {kind.__name__: kind for kind in (SharedTimePosterior, OwnTimePosterior)}


def pack_learned(learned: DughResult) -> dict:
    """Take apart what was learned.

    Parameters
    ----------
    learned : DughResult
        What was learned.

    Returns
    -------
    parts : dict
        Plain values and arrays.
    """
    posterior = learned.posterior
    parts = {part.name: getattr(learned, part.name) for part in fields(learned)}
    return parts | {"posterior": {"kind": type(posterior).__name__} | vars(posterior)}


def unpack_learned(parts: dict) -> DughResult:
    """Make again what :func:`pack_learned` took apart.

    Parameters
    ----------
    parts : dict
        What :func:`pack_learned` returned.

    Returns
    -------
    learned : DughResult
        What was learned.
    """
    posterior = dict(parts["posterior"])
    kind = _POSTERIORS[posterior.pop("kind")]
    return DughResult(**parts | {"posterior": kind(**posterior)})
