"""Between arrays over locations and the source estimate classes of MNE."""

from __future__ import annotations

import mne
import numpy as np

from mne_invkit._docs import fill_doc
from mne_invkit._mne import is_right_hemisphere, space_kind
from mne_invkit.inverse.priors import check_pick_ori
from mne_invkit.inverse.problem import InverseProblem

Estimate = (
    mne.SourceEstimate
    | mne.VectorSourceEstimate
    | mne.VolSourceEstimate
    | mne.VolVectorSourceEstimate
    | mne.MixedSourceEstimate
    | mne.MixedVectorSourceEstimate
)
"""A source estimate: any of the six classes of MNE."""

STC_CLASSES = {
    ("surface", False): mne.SourceEstimate,
    ("surface", True): mne.VectorSourceEstimate,
    ("volume", False): mne.VolSourceEstimate,
    ("volume", True): mne.VolVectorSourceEstimate,
    ("discrete", False): mne.VolSourceEstimate,
    ("discrete", True): mne.VolVectorSourceEstimate,
    ("mixed", False): mne.MixedSourceEstimate,
    ("mixed", True): mne.MixedVectorSourceEstimate,
}
"""Class of an estimate by the kind of the source space and whether it holds vectors."""


def kind_of(stc: Estimate) -> str:
    """Tell whether an estimate is of sources on a surface, in a volume, or both.

    Parameters
    ----------
    stc : source estimate
        Any of the six classes of MNE.

    Returns
    -------
    kind : "surface" | "volume" | "mixed"
        The kind; "volume" stands for discrete sources, too.
    """
    for (kind, _), stc_class in STC_CLASSES.items():
        if isinstance(stc, stc_class):
            return kind
    mend = ""
    if isinstance(stc, list | tuple) and len(stc):
        mend = f" of {len(stc)}: pass one of them, such as stc[0]"
    elif hasattr(stc, "stc"):
        mend = ": pass its estimate, result.stc"
    raise TypeError(f"stc must be a source estimate of MNE, got {type(stc).__name__}{mend}.")


# %% From arrays


@fill_doc
def make_stc(
    problem: InverseProblem,
    amplitude: np.ndarray,
    *,
    pick_ori: str | None = None,
    sparse: bool = False,
    active: np.ndarray | None = None,
) -> Estimate:
    """Put amplitudes into the source estimate class that the source space asks for.

    Parameters
    ----------
    %(problem)s
    amplitude : ndarray, shape (n_active * n_orient, n_times)
        Amplitude of each component in A m.
    %(ori)s
    sparse : bool
        Keep only the locations that are not zero throughout.
    %(active)s

    Returns
    -------
    stc : SourceEstimate
        One of MNE's six classes.
    """
    n_orient = problem.n_orient
    check_pick_ori(pick_ori, problem.forward)
    vectors = amplitude.reshape(-1, n_orient, amplitude.shape[-1])
    active = np.arange(problem.forward["nsource"]) if active is None else active
    if pick_ori == "vector":
        data = np.einsum("noi,not->nit", problem.axes[active], vectors)
    elif n_orient == 1:
        data = vectors[:, 0]
    elif pick_ori == "normal":
        data = vectors[:, 2]
    else:
        data = np.sqrt(np.einsum("not,not->nt", vectors, vectors))
    if sparse:
        loud = np.abs(vectors).max(axis=(1, 2)) > 0
        active, data = active[loud], data[loud]
    return place_data(problem, data, active, vector=pick_ori == "vector", sparse=sparse)


@fill_doc
def place_data(
    problem: InverseProblem,
    data: np.ndarray,
    active: np.ndarray,
    *,
    vector: bool = False,
    sparse: bool = False,
) -> Estimate:
    """Put what is known of some locations into a source estimate.

    Parameters
    ----------
    %(problem)s
    data : ndarray, shape (n_active, n_times) | (n_active, 3, n_times)
        Values of the locations.
    active : ndarray of int, shape (n_active,)
        The locations, in ascending order.
    vector : bool
        Whether the values are vectors.
    sparse : bool
        Leave out the other locations, which are zero otherwise.

    Returns
    -------
    stc : SourceEstimate
        One of MNE's six classes.
    """
    src = problem.forward["src"]
    n_locations = problem.forward["nsource"]
    kept = np.ones(n_locations, bool)
    if sparse:
        kept = np.isin(np.arange(n_locations), active)
    elif len(data) < n_locations:
        data = _fill(data, active, n_locations)
    ends = np.cumsum([len(s["vertno"]) for s in src])[:-1]
    vertices = [s["vertno"][k] for s, k in zip(src, np.split(kept, ends), strict=True)]
    info = problem.insts[0].info if problem.insts else problem.info
    return STC_CLASSES[space_kind(src), vector](
        data, both_hemispheres(src, vertices), tmin=problem.times[0], tstep=1 / info["sfreq"],
        subject=src[0].get("subject_his_id"),
    )  # fmt: skip


def both_hemispheres(src: mne.SourceSpaces, vertices: list[np.ndarray]) -> list[np.ndarray]:
    """Vertices of both hemispheres, which every estimate on the cortex has.

    Parameters
    ----------
    src : mne.SourceSpaces
        The source space, perhaps of one hemisphere.
    vertices : list of ndarray
        Vertices of each of its parts.

    Returns
    -------
    vertices : list of ndarray
        The same, with an empty hemisphere where there is only one.
    """
    if not _is_one_hemisphere(src):
        return vertices
    none = np.zeros(0, int)
    return [none, *vertices] if is_right_hemisphere(src[0]) else [*vertices, none]


def _is_one_hemisphere(src: mne.SourceSpaces) -> bool:
    return len(src) == 1 and space_kind(src) == "surface"


def _fill(data: np.ndarray, rows: np.ndarray, n_rows: int) -> np.ndarray:
    """Array of so many rows, zero but for those given."""
    whole = np.zeros((n_rows, *data.shape[1:]), data.dtype)
    whole[rows] = data
    return whole


# %% To arrays


def source_positions(src: mne.SourceSpaces) -> np.ndarray:
    """Positions of the locations in use.

    Parameters
    ----------
    src : mne.SourceSpaces
        The source space.

    Returns
    -------
    positions : ndarray, shape (n_locations, 3)
        Positions in m, in the frame of `src`.
    """
    return np.concatenate([s["rr"][s["vertno"]] for s in src])


def dense_data(stc: Estimate, src: mne.SourceSpaces) -> np.ndarray:
    """Values of a source estimate at all locations in use.

    Parameters
    ----------
    stc : source estimate
        Any of the six classes of MNE; sparse estimates are filled with zeros.
    src : mne.SourceSpaces
        The source space, such as ``forward["src"]``.

    Returns
    -------
    data : ndarray, shape (n_locations, n_times) | (n_locations, 3, n_times)
        Values in the order of :func:`source_positions`.
    """
    kind_of(stc)
    if not isinstance(src, mne.SourceSpaces):
        raise TypeError(f'src must be mne.SourceSpaces, got {type(src).__name__}: forward["src"].')
    places = list(stc.vertices)
    if _is_one_hemisphere(src) and len(places) == 2:
        other = places.pop(0 if is_right_hemisphere(src[0]) else 1)
        places += [other] if len(other) else []
    if len(places) != len(src):
        raise ValueError(
            f"stc covers {len(places)} source spaces and src {len(src)}: pass the "
            'forward["src"] it was estimated with.'
        )
    rows, offset = [], 0
    for vertices, space in zip(places, src, strict=True):
        if not np.isin(vertices, space["vertno"]).all():
            raise ValueError(
                "stc has vertices that src does not use: pass the source space of the forward "
                'solution that stc was made with, src=forward["src"].'
            )
        rows.append(offset + np.searchsorted(space["vertno"], vertices))
        offset += space["nuse"]
    return _fill(stc.data, np.concatenate(rows), offset)
