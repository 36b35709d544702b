"""The sensors: do data, forward solution and noise covariance mean the same by a name."""

from __future__ import annotations

from collections.abc import Sequence

import mne
import numpy as np
from mne.utils import logger, warn

from mne_invkit._mne import (
    get_current_comp,
    is_average_reference,
    is_bipolar,
    is_in_device_frame,
    is_in_head_frame,
    make_projector,
)
from mne_invkit.inverse.values import Survey, some

_FAR, _OFF = 0.030, 0.005  # m, from where the forward solution has a sensor: no more, a warning
_MANY = 0.1  # share of the channels of a type that are left out: a warning
_SENSORS = ("eeg", "mag", "grad")


def check_is_forward(forward: object) -> None:
    """Is it a forward solution."""
    if not isinstance(forward, mne.Forward):
        raise TypeError(
            f"forward must be an mne.Forward, got {type(forward).__name__}: read one with "
            "mne.read_forward_solution, or use mne_invkit.template_forward(info)."
        )


def check_forward(forward: object) -> None:
    """Is it a forward solution in the head frame with finite gains."""
    check_is_forward(forward)
    if not is_in_head_frame(forward):
        raise ValueError(
            "The forward solution is not in the head frame: compute it with "
            "mne.make_forward_solution(info, trans, src, bem)."
        )
    if not np.any(forward["sol"]["data"]):
        raise ValueError("The forward solution is zero on all channels: compute it again.")
    bad = ~np.isfinite(forward["sol"]["data"]).all(axis=1)
    if bad.any():
        names = np.array(forward["sol"]["row_names"])[bad]
        raise ValueError(
            f"The gain of {len(names)} channels is not finite ({some(names)}), which happens to "
            "electrodes that lie exactly on a vertex of the head surface: mark them as bad, or "
            "move them by a fraction of a mm: mne_invkit.heads.electrodes.place_electrodes."
        )


def common_channels(
    infos: Sequence[mne.Info], forward: mne.Forward, noise_cov: mne.Covariance | None
) -> list[str]:
    """Good sensors that data, forward solution and covariance share, in the data's order."""
    bads = {name for info in infos for name in info["bads"]}
    if noise_cov is not None:
        if not isinstance(noise_cov, mne.Covariance):
            raise TypeError(
                f"noise_cov must be an mne.Covariance or None, got {type(noise_cov).__name__}: "
                "estimate one with mne.compute_covariance(epochs, tmax=0)."
            )
        if np.ma.isMaskedArray(noise_cov["data"]) or np.iscomplexobj(noise_cov["data"]):
            raise ValueError(
                "The noise covariance is masked or complex: give it real numbers, as "
                "mne.compute_covariance(epochs, tmax=0) returns."
            )
        bads |= set(noise_cov["bads"])
    info = infos[0]
    types = dict(zip(info["ch_names"], info.get_channel_types(), strict=True))
    sensors = [name for name, kind in types.items() if kind in _SENSORS and name not in bads]
    rows = forward["sol"]["row_names"]
    names = _keep(sensors, rows, types, "the forward solution")
    _check_other_types(types, set(rows).difference(bads), forward)
    if not names:
        what = info["ch_names"]
        if set(what).intersection(rows):
            raise ValueError(
                f"All {len(set(what).intersection(rows))} channels in common are marked as bad; "
                "see inst.info['bads']."
            )
        raise ValueError(
            f"Data ({some(what)}) and forward solution ({some(rows)}) have no "
            "channel in common: rename with inst.rename_channels, or compute the forward "
            "solution from inst.info."
        )
    for one in infos:
        check_coils(one, forward, names)
    if noise_cov is not None:
        in_forward, names = names, _keep(names, noise_cov.ch_names, types, "the noise covariance")
        if not names:
            raise ValueError(
                f"The noise covariance ({some(noise_cov.ch_names)}) has none of the data's "
                f"channels ({some(in_forward)}): estimate it from the same recording with "
                "mne.compute_covariance(epochs, tmax=0)."
            )
    eeg = [name for name in names if types[name] == "eeg"]
    if len(eeg) == 1:
        raise ValueError(
            f"{eeg[0]} is the only EEG channel that all have, which has no average reference: pass "
            "more electrodes, or leave EEG out with inst.pick('meg')."
        )
    return names


def _keep(names: list[str], there, types: dict, what: str) -> list[str]:
    """Names that are there; warn if only some channels of a type are."""
    there = set(there)
    if there.isdisjoint(names):
        return []
    for kind in _SENSORS:
        ours = [name for name in names if types[name] == kind]
        missing = [name for name in ours if name not in there]
        if missing and (len(missing) < len(ours) or what == "the noise covariance"):
            text = (
                f"{len(missing)} of {len(ours)} {kind} channels ({some(missing)}) are left out, "
                f"since {what} lacks them"
            )
            others = {_plain(name) for name in there.difference(names)}
            if others.intersection(map(_plain, missing)):
                warn(
                    f"{text}; it has names that differ in case or signs only: rename with "
                    "inst.rename_channels."
                )
            elif len(missing) > _MANY * len(ours):
                warn(f"{text}: make it from this recording's inst.info, or mark them as bad.")
            else:
                logger.info("%s.", text)
    return [name for name in names if name in there]


def _plain(name: str) -> str:
    """Letters and digits of a name, in one case."""
    return "".join(filter(str.isalnum, name.casefold()))


def _check_other_types(types: dict, rows: set, forward) -> None:
    """Raise or warn where a channel has one type in the data and another in the forward."""
    info = forward["info"]
    wanted = dict(zip(info["ch_names"], info.get_channel_types(), strict=True))
    other = [name for name in types if name in rows and types[name] != wanted.get(name)]
    if not other:
        return
    ours, theirs = ({kinds[name] for name in other} for kinds in (types, wanted))
    text = (
        f"{len(other)} channels ({some(other)}) are {some(ours)} in the data and {some(theirs)} in "
        "the forward solution"
    )
    if "csd" in ours:
        raise ValueError(
            f"{text}: pass the potentials, before mne.preprocessing.compute_current_source_density."
        )
    if ours.intersection(_SENSORS) or not set(types.values()).intersection(theirs):
        raise ValueError(
            f"{text}: give them the right type with inst.set_channel_types, or recompute the "
            "forward solution from inst.info."
        )
    warn(f"{text}; they are left out. Give them their type with inst.set_channel_types.")


def check_coils(info: mne.Info, forward: mne.Forward, names: list[str]) -> None:
    """Raise if channels are differences of electrodes, or of another compensation grade."""
    chosen = set(names)
    for one in (info, forward["info"]):
        pairs = [ch["ch_name"] for ch in one["chs"] if ch["ch_name"] in chosen and is_bipolar(ch)]
        if pairs:
            raise ValueError(
                f"{len(pairs)} channels are bipolar ({some(pairs)}), which forward solutions of "
                "single electrodes do not describe: use the recording before "
                "mne.set_bipolar_reference, or drop them with inst.drop_channels."
            )
    grades = [get_current_comp(i) or 0 for i in (info, forward["info"])]
    if grades[0] != grades[1]:
        raise ValueError(
            f"The data have CTF compensation grade {grades[0]}, the forward solution {grades[1]}: "
            f"call raw.apply_gradient_compensation({grades[1]}) before epoching."
        )


def check_channels(
    infos: Sequence[mne.Info], problem_info: mne.Info, projector: np.ndarray
) -> None:
    """Do all data have the sensors of a prepared problem, and no projector that it lacks."""
    names = problem_info["ch_names"]
    kinds = dict(zip(names, problem_info.get_channel_types(), strict=True))
    for info in infos:
        missing = set(names).difference(info["ch_names"])
        bad = set(names).intersection(info["bads"])
        if missing or bad:
            what = f"lack {some(missing)}" if missing else f"have the bad channels {some(bad)}"
            raise ValueError(
                f"The data {what}, which the prepared forward solution uses: prepare it again from "
                "these data's info, or call inst.interpolate_bads()."
            )
        types = dict(zip(info["ch_names"], info.get_channel_types(), strict=True))
        other = [name for name in names if types[name] != kinds[name]]
        if other:
            raise ValueError(
                f"The type of {some(other)} is not that of the prepared forward solution: give "
                "them the right one with inst.set_channel_types, or prepare it again from "
                "inst.info."
            )
        theirs = make_projector(info["projs"], names)[2]
        if np.abs(projector @ theirs).max(initial=0) > 1e-3:
            raise ValueError(
                "The data have projectors (inst.info['projs']) that the prepared forward solution "
                "lacks: prepare it again from these data's info."
            )


def check_same_projectors(infos: Sequence[mne.Info], names: list[str]) -> None:
    """Do all data of a list have the same projectors."""
    first = make_projector(infos[0]["projs"], names)[0]
    for info in infos[1:]:
        if np.abs(make_projector(info["projs"], names)[0] - first).max() > 1e-3:
            raise ValueError(
                "The Evokeds have different projectors (evoked.info['projs']): give all the same "
                "with evoked.add_proj, or solve them one by one."
            )


def check_reference(info: mne.Info, survey: Survey | None) -> mne.Info:
    """Return an info whose EEG has an average-reference projector, if the data allow one."""
    eeg = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    names = [info["ch_names"][k] for k in eeg]
    if not names or _is_referenced(info, names):
        return info
    for k, proj in enumerate(info["projs"]):
        lacking = set(names).difference(proj["data"]["col_names"])
        if is_average_reference(proj) and lacking:
            mend = (
                "go back to the data before it was applied, and call"
                if proj["active"]
                else f"call inst.del_proj({k}) and"
            )
            raise ValueError(
                f"The average reference covers {len(names) - len(lacking)} of the {len(names)} EEG "
                f"channels used, not {some(lacking)}, whose type or name was another when it was "
                f"made: "
                f'{mend} inst.set_eeg_reference("average", projection=True).'
            )
    if survey is not None and survey.eeg_mean > 1e-3 * survey.eeg_std:
        raise ValueError(
            "The EEG has no average reference, which source estimation needs: call "
            'inst.set_eeg_reference("average", projection=True).'
        )
    logger.info("The EEG is average-referenced already; using it as it is.")
    referenced = mne.EvokedArray(np.zeros((len(info["chs"]), 1)), info.copy(), verbose="error")
    referenced.set_eeg_reference("average", projection=True, verbose="error")
    return referenced.info


def _is_referenced(info: mne.Info, names: list[str]) -> bool:
    """Do the projectors take the mean out of the channels, whatever they are called."""
    projector = make_projector(info["projs"], names)[0]
    return bool(np.abs(projector.sum(axis=1)).max() < 1e-6)


def check_positions(info: mne.Info, forward: mne.Forward) -> None:
    """Are the sensors of the data where the forward solution has them, in the head's frame."""
    chs = {ch["ch_name"]: ch for ch in forward["info"]["chs"]}
    types = np.array(info.get_channel_types())
    pairs = np.array(
        [[_place(ch, info), _place(chs[ch["ch_name"]], forward["info"])] for ch in info["chs"]]
    )
    known = np.isfinite(pairs).all(axis=(1, 2))
    apart = np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1)
    electrodes = apart[known & (types == "eeg")]
    if len(electrodes) and (off := np.median(electrodes)) > _FAR:
        raise ValueError(
            f"The electrodes lie {1e3 * off:.0f} mm (median) from where the forward solution has "
            "them: it belongs to another subject or montage, or the positions are in another "
            "frame or unit. Set them with inst.set_montage (metres) and recompute the forward "
            "solution from inst.info."
        )
    far = known & (types == "eeg") & (apart > _FAR)
    if far.any():
        warn(
            f"{far.sum()} electrodes ({some(np.array(info['ch_names'])[far])}) lie up to "
            f"{1e3 * apart[far].max():.0f} mm from where the forward solution has them: are their "
            "positions or names wrong? Set them with inst.set_montage, and recompute the forward "
            "solution from inst.info."
        )
    off = apart[known & (types != "eeg")].max(initial=0)
    where = (
        f"The head moves MEG sensors by {1e3 * off:.0f} mm from where the forward solution has them"
    )
    if off > _FAR:
        raise ValueError(
            f"{where}: it belongs to another subject or run; recompute it from inst.info."
        )
    if off > _OFF:
        warn(f"{where}: recompute it from inst.info for accurate positions.")


def _place(ch: dict, info: mne.Info) -> np.ndarray:
    """Position of a sensor in the head's frame, NaN if it has none."""
    place = np.array(ch["loc"][:3], float)
    if not np.any(place):
        return np.full(3, np.nan)
    if is_in_device_frame(ch) and info["dev_head_t"] is not None:
        place = mne.transforms.apply_trans(info["dev_head_t"], place)
    return place
