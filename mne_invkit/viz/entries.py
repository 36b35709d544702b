"""Estimates of solvers and conditions, each with the data that it explains, and their peaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mne
import numpy as np

from mne_invkit._docs import fill_doc
from mne_invkit.inverse.problem import Instance
from mne_invkit.inverse.result import Result
from mne_invkit.inverse.stc import Estimate, dense_data
from mne_invkit.viz.estimate import check_unit
from mne_invkit.viz.findings import describe_peak, drawn_unit
from mne_invkit.viz.fit import explained_by_type, response_time
from mne_invkit.viz.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    import pandas as pd

_DATA = mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
Results = Result | Estimate | Sequence | Mapping
"""What is drawn: a result or an estimate, a list of one for each condition, or either by solver."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One estimate and the data that it explains.

    Attributes
    ----------
    solver : str
        Name of the solver.
    condition : str
        Name of the condition, empty where there is one only.
    stc : source estimate
        The estimate.
    evoked : mne.Evoked
        The data: an Evoked, the average of Epochs, or a piece of Raw.
    residual : mne.Evoked | None
        What is not explained, of a result.
    result : Result | None
        What the solver returned, if it is more than an estimate.
    unit : str
        Unit of the estimate.
    """

    solver: str
    condition: str
    stc: object
    evoked: mne.Evoked
    residual: mne.Evoked | None
    result: Result | None
    unit: str

    @property
    def name(self) -> str:
        """Solver and condition."""
        return ", ".join(filter(None, (self.solver, self.condition)))

    def response_time(self) -> float:
        """Time of the response within the estimate."""
        first, last = self.stc.times[[0, -1]]
        inside = self.evoked.copy().crop(max(first, self.evoked.tmin), min(last, self.evoked.tmax))
        return response_time(inside)


def make_entries(results: Results, inst: Instance, forward: mne.Forward, unit: str) -> list[Entry]:
    """Estimates and their data, one by one; what does not fit together raises here."""
    if not isinstance(forward, mne.Forward):
        raise TypeError(f"forward must be an mne.Forward, got {type(forward).__name__}.")
    if not isinstance(results, Mapping):
        results = {_solver_name(results): results}
    if not results:
        raise ValueError("results is empty: pass at least one result.")
    conditions = _conditions(inst)
    entries = []
    for solver, given in results.items():
        result = given if hasattr(given, "stc") else None
        stcs = _as_list(given.stc if result else given)
        residuals = _as_list(result.residual) if result else [None] * len(conditions)
        if isinstance(inst, mne.BaseEpochs) and len(stcs) == len(inst):
            stcs = [_mean(stcs)]
        if len(stcs) != len(conditions):
            raise ValueError(
                f"{solver} has {len(stcs)} estimates, and evoked {len(conditions)} conditions: "
                "pass as evoked the data they were made from, such as a list of Evokeds."
            )
        cases = zip(conditions.items(), stcs, residuals, strict=True)
        for (condition, evoked), stc, residual in cases:
            residual = None if residual is None else _as_evoked(residual)
            entry = Entry(
                solver, condition, stc, evoked, residual, result, result.unit if result else unit
            )
            _check_entry(entry, forward)
            entries.append(entry)
    return entries


def _solver_name(results) -> str:
    """Name of results that have none."""
    if isinstance(results, list | tuple) and any(hasattr(one, "stc") for one in results):
        raise TypeError('results is a list of results: name them, such as {"my solver": result}.')
    return getattr(results, "code", "").partition(" ")[0] or "Estimate"


def _conditions(inst) -> dict[str, mne.Evoked]:
    """Data of each condition by its name, empty where there is one only."""
    insts = _as_list(inst)
    if not insts or not all(isinstance(one, _DATA) for one in insts):
        raise TypeError(
            "evoked must be what the estimates were made from (Evoked, a list of Evokeds, Epochs "
            f"or Raw), got {type(inst).__name__}."
        )
    names = [one.comment if isinstance(one, mne.Evoked) else "" for one in insts]
    if isinstance(inst, mne.BaseEpochs):
        names = [f"mean of {len(inst)} epochs"]
    elif len(insts) == 1:
        names = [""]
    elif len(set(names) - {""}) < len(names):
        names = [f"condition {k}" for k in range(1, len(insts) + 1)]
    return {name: _as_evoked(one) for name, one in zip(names, insts, strict=True)}


def _as_evoked(inst) -> mne.Evoked:
    """An Evoked itself, the average of Epochs, or the signals of Raw."""
    if isinstance(inst, mne.BaseEpochs):
        return inst.average()
    if isinstance(inst, mne.io.BaseRaw):
        kept = mne.pick_types(inst.info, meg=True, eeg=True)
        info = mne.pick_info(inst.info, kept)
        return mne.EvokedArray(inst.get_data(kept), info, verbose="error")
    return inst


def _as_list(thing) -> list:
    return list(thing) if isinstance(thing, list | tuple) else [thing]


def _mean(stcs: list):
    """Mean of the estimates of all epochs."""
    mean = stcs[0].copy()
    mean.data = np.mean([stc.data for stc in stcs], axis=0)
    return mean


def _check_entry(entry: Entry, forward: mne.Forward) -> None:
    """Raise for an estimate that does not fit the source space or the data."""
    try:
        dense_data(entry.stc, forward["src"])
    except (TypeError, ValueError) as error:
        raise type(error)(f"{entry.name} cannot be reported: {error}") from error
    check_unit(drawn_unit(entry.unit)[1], np.abs(entry.stc.data).max(initial=0))
    first, last = entry.stc.times[[0, -1]]
    if first > entry.evoked.tmax or last < entry.evoked.tmin:
        raise ValueError(
            f"{entry.name} spans {first:g} to {last:g} s and evoked {entry.evoked.tmin:g} to "
            f"{entry.evoked.tmax:g} s: pass the data that it was made from."
        )
    if entry.residual is not None and len(entry.residual.times) != len(entry.evoked.times):
        raise ValueError(
            f"{entry.name} was made from {len(entry.residual.times)} times, and evoked has "
            f"{len(entry.evoked.times)}: pass the data that it was made from."
        )


# %% The strongest sources


def where_sources_are(
    forward: mne.Forward,
    subject: str | None,
    subjects_dir: str | Path | None,
    trans: mne.transforms.Transform | str | Path | None,
) -> dict:
    """Arguments of pictures that say where the sources are."""
    trans = forward["mri_head_t"] if trans is None else trans
    return {"subject": subject, "subjects_dir": subjects_dir, "trans": trans}


def snapshots_of(
    entry: Entry, times: Sequence[float] | None, src: mne.SourceSpaces, where: dict
) -> list[Snapshot]:
    """The estimate at the times that are drawn."""
    times = [entry.response_time()] if times is None or not len(times) else times
    return [take_snapshot(entry.stc, src, time=time, **where) for time in times]


def make_table(
    entries: list[Entry], snapshots: list[Snapshot], landmarks: Mapping[str, tuple] | None
) -> pd.DataFrame:
    """Table of what is said of each estimate, as words."""
    import pandas as pd

    rows = []
    for entry, snapshot in zip(entries, snapshots, strict=True):
        words = describe_peak(snapshot.peak(), entry.unit, landmarks)
        if entry.result is not None:
            explained = f"{entry.result.explained_variance:.1f} %"
            words["Explained, whitened"] = explained
            for kind, percent in explained_by_type(entry.evoked, entry.residual).items():
                words[f"Explained, raw {kind.upper()}"] = f"{percent:.1f} %"
        rows.append(words)
    return pd.DataFrame(rows, index=[entry.name for entry in entries]).fillna("–")


@fill_doc
def peak_table(
    results: Results,
    evoked: Instance,
    forward: mne.Forward,
    *,
    time: float | None = None,
    subject: str | None = None,
    subjects_dir: str | Path | None = None,
    trans: mne.transforms.Transform | str | Path | None = None,
    landmarks: Mapping[str, tuple] | None = None,
    unit: str = "A m",
) -> pd.DataFrame:
    """Make a table of the strongest source of each estimate, the one that a report opens with.

    Parameters
    ----------
    %(results)s
    %(inst_of_results)s
    forward : mne.Forward
        The forward solution the estimates were made with.
    time : float | None
        Time in s, by default that of the response.
    %(subject_of_stc)s
    trans : mne.transforms.Transform | path-like | None
        Transformation between head and MRI, by default that of the forward solution.
    %(landmarks)s
    unit : str
        Unit of source estimates that are not results.

    Returns
    -------
    table : pandas.DataFrame
        A row for each estimate: time, amplitude, position, and what else is known, as words.
    """
    entries = make_entries(results, evoked, forward, unit)
    times = None if time is None else [time]
    where = where_sources_are(forward, subject, subjects_dir, trans)
    snapshots = [snapshots_of(entry, times, forward["src"], where)[0] for entry in entries]
    return make_table(entries, snapshots, landmarks)
