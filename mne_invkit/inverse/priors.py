"""Orientation and depth of the sources, as MNE handles them, from its public functions."""

from __future__ import annotations

from numbers import Real

import mne
import numpy as np

from mne_invkit._mne import is_fixed, space_kind
from mne_invkit.inverse.sensors import check_is_forward

_KINDS = {"surf": "surface", "vol": "volume", "discrete": "discrete"}

_DEPTH = dict(
    exp=0.8, limit=None, limit_depth_chs="whiten", combine_xyz="fro", allow_fixed_depth=True
)


def loose_by_kind(
    src: mne.SourceSpaces, loose: float | str | dict, fixed: bool | str
) -> dict[str, float]:
    """Looseness for each kind of source space: 0 is fixed, 1 is free.

    Parameters
    ----------
    src : mne.SourceSpaces
        The source space.
    loose : float | "auto" | dict
        As in :func:`mne.minimum_norm.make_inverse_operator`.
    fixed : bool | "auto"
        True is the same as ``loose=0``.

    Returns
    -------
    loose : dict
        From ``"surface"``, ``"volume"`` and ``"discrete"``, where present, to [0, 1].
    """
    kinds = sorted({_KINDS[s["type"]] for s in src})
    if fixed not in ("auto", True, False):
        raise ValueError(f'fixed must be True, False or "auto", got {fixed!r}.')
    if isinstance(loose, str) and loose == "auto":
        loose = 0.0 if fixed is True else 0.2 if space_kind(src) == "surface" else 1.0
    if isinstance(loose, Real):
        loose = dict.fromkeys(kinds, float(loose))
    if not isinstance(loose, dict):
        raise ValueError(f'loose must be a number, a dict or "auto", got {loose!r}.')
    if sorted(loose) != kinds:
        raise ValueError(f"loose must have the keys {kinds} of the source space, got {loose}.")
    for kind, value in loose.items():
        if not 0 <= value <= 1:
            raise ValueError(
                f"loose must lie between 0 (fixed) and 1 (free), got {value} for {kind} sources."
            )
        if kind == "volume" and value != 1:
            raise ValueError(
                f"Volume sources have no normal: loose must be 1 there, got {value}. Pass "
                'loose="auto", or a dict such as dict(surface=0.2, volume=1.0) for a mixed space.'
            )
    all_fixed = all(value == 0 for value in loose.values())
    if fixed is True and not all_fixed:
        raise ValueError(f'fixed=True needs loose=0 or "auto", got {loose}.')
    if fixed is False and all_fixed:
        raise ValueError('fixed=False contradicts loose=0; pass fixed="auto".')
    return loose


def check_pick_ori_name(pick_ori: str | None) -> None:
    """Raise unless an orientation has a meaning, whatever the sources.

    Parameters
    ----------
    pick_ori : None | "normal" | "vector"
        What the user asks for.
    """
    if pick_ori not in (None, "normal", "vector"):
        raise ValueError(f'pick_ori must be None, "normal" or "vector", got {pick_ori!r}.')


def check_pick_ori(
    pick_ori: str | None, forward: mne.Forward, loose: float | str | dict = "auto"
) -> None:
    """Raise if the orientation asked for cannot be had.

    Parameters
    ----------
    pick_ori : None | "normal" | "vector"
        What the user asks for.
    forward : mne.Forward
        The forward solution.
    loose : float | "auto" | dict
        As for :func:`loose_by_kind`.
    """
    check_is_forward(forward)
    check_pick_ori_name(pick_ori)
    kind = space_kind(forward["src"])
    if pick_ori == "normal" and kind not in ("surface", "discrete"):
        raise ValueError(
            f'pick_ori="normal" needs sources with a normal, but the source space is {kind}: '
            'pass pick_ori=None (magnitude) or "vector".'
        )
    fixed = is_fixed(forward) or not any(loose_by_kind(forward["src"], loose, "auto").values())
    if pick_ori == "vector" and fixed:
        raise ValueError(
            'pick_ori="vector" cannot be had from fixed orientations: pass loose="auto" with the '
            "free-orientation forward solution, or pick_ori=None."
        )


def depth_options(depth: float | dict | None) -> dict:
    """Options of :func:`mne.forward.compute_depth_prior`, MNE's sparse defaults filled in.

    Parameters
    ----------
    depth : float | dict | None
        Exponent, or any of the options by name.

    Returns
    -------
    options : dict
        All options; the exponent ``exp`` is None without depth weighting.
    """
    given = depth if isinstance(depth, dict) else dict(exp=depth)
    unknown = sorted(set(given) - set(_DEPTH))
    if unknown:
        raise ValueError(f"depth has unknown keys {unknown}; it knows {sorted(_DEPTH)}.")
    options = _DEPTH | given
    if options["exp"] is not None:
        options["exp"] = float(options["exp"])
        if not 0 <= options["exp"] <= 1:
            raise ValueError(
                f"depth must lie between 0 (no weighting) and 1, got {options['exp']}."
            )
    return options


def orient_forward(
    forward: mne.Forward,
    info: mne.Info,
    noise_cov: mne.Covariance,
    loose: dict[str, float],
    depth: dict,
    rank: dict | str | None,
) -> tuple[mne.Forward, np.ndarray, np.ndarray]:
    """Bring a forward solution to the orientation that `loose` asks for.

    Free orientations are expressed in surface coordinates (two tangents and the normal), so
    that ``pick_ori="normal"`` is always there for sources that have one.

    Parameters
    ----------
    forward : mne.Forward
        The forward solution with the channels of `info`; it is changed.
    info : mne.Info
        Measurement info.
    noise_cov : mne.Covariance
        Noise covariance, for depth weighting by whitened gains.
    loose, depth : dict
        From `loose_by_kind` and `depth_options`.
    rank : None | dict | str
        Rank of the noise covariance, as in MNE.

    Returns
    -------
    forward : mne.Forward
        The oriented forward solution.
    depth_prior, orient_prior : ndarray, shape (n_components,)
        Prior variances.
    """
    make_fixed = all(value == 0 for value in loose.values())
    given_fixed = is_fixed(forward)
    if given_fixed and not make_fixed:
        raise ValueError(
            "The forward solution has fixed orientation, which cannot be freed: pass loose=0, "
            "or the free-orientation solution that mne.make_forward_solution returns."
        )
    options = dict(depth)
    exp, depth_when_fixed = options.pop("exp"), options.pop("allow_fixed_depth")
    if given_fixed and exp and not depth_when_fixed:
        raise ValueError(
            "depth with allow_fixed_depth=False needs the free-orientation forward solution; "
            "pass depth=None or that solution."
        )

    def convert(forward, force_fixed):
        return mne.convert_forward_solution(
            forward, surf_ori=True, force_fixed=force_fixed, copy=False, use_cps=True,
            verbose="error",
        )  # fmt: skip

    if not given_fixed:
        forward = convert(forward, make_fixed and depth_when_fixed)
    n_components = forward["sol"]["data"].shape[1]
    depth_prior = np.ones(n_components)
    if exp:
        with np.errstate(divide="ignore", invalid="ignore"):  # locations that no sensor sees
            depth_prior = mne.forward.compute_depth_prior(
                forward, info, exp=exp, noise_cov=noise_cov, rank=rank, verbose="error", **options
            )
    if make_fixed and not is_fixed(forward):
        forward, depth_prior = convert(forward, True), depth_prior[2::3]
    orient_prior = mne.forward.compute_orient_prior(forward, loose=loose, verbose="error")
    return forward, depth_prior, orient_prior
