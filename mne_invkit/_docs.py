"""Arguments that several functions share, each described once.

Decorate a function with :data:`fill_doc` and write ``%(name)s`` in its docstring for an entry of
:data:`ENTRIES`. What is left, such as ``%(verbose)s``, is MNE's and is filled by
:func:`mne.verbose`, which stands above. Sibling packages add entries of their own:
``fill_doc = make_filler(ENTRIES | {...})``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable)

_TIME = """\
time : float | None
    Time in s; None for the time of the maximum."""

ENTRIES = {
    # %% Data and models
    "inst": """\
evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
    The data. Several Evokeds must share channels and times; Raw is used whole (crop it to
    your window).""",
    "fwd": """\
forward : mne.Forward
    Forward solution of any source space.""",
    "noise": """\
noise_cov : mne.Covariance | None
    Noise covariance of a single trial. For averages it is divided by their ``nave`` (harmonic
    mean over several Evokeds). None takes an ad hoc diagonal covariance, for data of one sensor
    type only.""",
    "depth_sparse": """\
depth : float | dict | None
    Depth weighting. A number is the exponent, with the other options of MNE's sparse solvers
    (``limit=None, limit_depth_chs="whiten", combine_xyz="fro", allow_fixed_depth=True``);
    a dict overrides any of them.""",
    "ori": """\
pick_ori : None | "normal" | "vector"
    Magnitude (signed where the orientation is fixed), component along the cortical normal,
    or vectors.""",
    "stc_of_inst": """\
stc : SourceEstimate | list of SourceEstimate
    Estimate in A m, of the class that the source space and `pick_ori` ask for; a list where
    there is more than one Evoked or epoch.""",
    "problem": """\
problem : InverseProblem
    The prepared problem.""",
    "active": """\
active : ndarray of int, shape (n_active,) | None
    Locations of the sources, in ascending order; None for all locations.""",
    # %% Estimates and where they are
    "stc_at_time": f"""\
stc : mne.SourceEstimate | mne.VolSourceEstimate | mne.MixedSourceEstimate
    The estimate, of any of the six classes of MNE.
src : mne.SourceSpaces | None
    Source space of the estimate, such as ``forward["src"]``; needed for a volume.
{_TIME}""",
    "time": _TIME,
    "results": """\
results : dict | Result | source estimate | list of source estimate
    By the name of each solver its result, see :class:`mne_invkit.inverse.result.Result`, or
    its estimate. A single result or estimate needs no name.""",
    "inst_of_results": """\
evoked : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
    The data that the estimates were made from. Of Epochs the mean is reported.""",
    "landmarks": """\
landmarks : dict of tuple of float | None
    Positions (mm, MNI) by their names, to which distances are told.""",
    "drawn_unit": """\
unit : str
    Unit of the picture. ``"nA m"`` is for an estimate in A m, MNE's unit of amplitudes. For
    an estimate in any other unit pass that unit, such as ``unit="dSPM"``.""",
    "subject_of_stc": """\
subject : str | None
    Subject, by default that of the estimate or of its source space.
subjects_dir : path-like | None
    Folder of the subjects, by default the template's or ``SUBJECTS_DIR``.""",
    "trans_of_src": """\
trans : mne.transforms.Transform | path-like | None
    Transformation between head and MRI, needed for a source space in the head frame, such as
    ``forward["mri_head_t"]``. The default is the template's for the template.""",
    # %% Random heads
    "anatomy": """\
anatomy : Anatomy
    The head.""",
    "anatomies": """\
anatomies : sequence of Anatomy
    The head, followed by others around the same brain.""",
    # %% Random numbers
    "generator": """\
rng : numpy.random.Generator
    The generator.""",
    "seed": """\
rng : int | numpy.random.Generator | None
    Seed or generator.""",
}
"""Texts by the name of the argument."""


def make_filler(entries: Mapping[str, str]) -> Callable[[_Function], _Function]:
    """Make a decorator that fills docstrings.

    Parameters
    ----------
    entries : dict of str
        Texts by name.

    Returns
    -------
    fill_doc : callable
        Replaces the place of each name by its text, indented as the place is.
    """
    place = re.compile(r"^( *)%\((\w+)\)s", re.MULTILINE)

    def fill(match: re.Match) -> str:
        text = entries.get(match[2])
        return match[0] if text is None else indent(text, match[1])

    def fill_doc(function: _Function) -> _Function:
        function.__doc__ = place.sub(fill, function.__doc__ or "")
        return function

    return fill_doc


fill_doc = make_filler(ENTRIES)
