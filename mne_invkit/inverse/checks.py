"""Does what the user gave fit together? Every error names the call that mends it."""

from __future__ import annotations

import mne
import numpy as np
from mne.utils import logger, warn

from mne_invkit._mne import get_current_comp, has_average_reference, is_in_head_frame


def check_instances(inst) -> tuple:
    """Return the data as a tuple of one Epochs or Raw, or of one or more Evokeds."""
    if isinstance(inst, (mne.Evoked, mne.BaseEpochs, mne.io.BaseRaw)):
        insts = (inst,)
    elif isinstance(inst, (list, tuple)) and inst and all(isinstance(i, mne.Evoked) for i in inst):
        insts = tuple(inst)
    else:
        raise TypeError(
            "The data must be an Evoked, a non-empty list of Evoked, Epochs or Raw; got "
            f"{type(inst).__name__}. Average epochs with epochs.average()."
        )
    first = insts[0]
    for other in insts[1:]:
        if other.ch_names != first.ch_names:
            raise ValueError(
                "The Evokeds have different channels: bring them together with "
                "mne.channels.equalize_channels(evokeds)."
            )
        if len(other.times) != len(first.times) or not np.allclose(other.times, first.times):
            raise ValueError(
                "The Evokeds have different times: crop or resample them to the same with "
                "evoked.crop(tmin, tmax) and evoked.resample(sfreq)."
            )
    return insts


def own_instances(inst) -> tuple:
    """Copies of the data, without bad epochs: the user's own objects stay as they are."""
    insts = tuple(inst.copy() for inst in check_instances(inst))
    for inst in insts:
        if isinstance(inst, mne.BaseEpochs):
            inst.drop_bad(verbose="error")
            if len(inst) == 0:
                raise ValueError("The Epochs hold no event: all were dropped, see epochs.drop_log.")
    return insts


def pick_loaded(insts: tuple, names: list[str]) -> tuple:
    """Keep the channels used of data in memory; those on disk stay there."""
    return tuple(
        inst.pick(names, verbose="error") if getattr(inst, "preload", True) else inst
        for inst in insts
    )


def check_is_forward(forward) -> None:
    """Is it a forward solution."""
    if not isinstance(forward, mne.Forward):
        raise TypeError(
            f"forward must be an mne.Forward, got {type(forward).__name__}: read one with "
            "mne.read_forward_solution, or use mne_invkit.template_forward(info)."
        )


def check_forward(forward) -> None:
    """Is it a forward solution in the head frame with finite gains."""
    check_is_forward(forward)
    if not is_in_head_frame(forward):
        raise ValueError(
            "The forward solution is not in the head frame: compute it with "
            "mne.make_forward_solution(info, trans, src, bem)."
        )
    bad = ~np.isfinite(forward["sol"]["data"]).all(axis=1)
    if bad.any():
        names = np.array(forward["sol"]["row_names"])[bad]
        raise ValueError(
            f"The gain of {len(names)} channels is not finite ({_some(names)}), which happens to "
            "electrodes that lie exactly on a vertex of the head surface: mark them as bad, or "
            "move them by a fraction of a mm: mne_invkit.heads.electrodes.place_electrodes."
        )


def common_channels(infos, forward, noise_cov) -> list[str]:
    """Good channels that data, forward solution and covariance share, in the data's order."""
    info = infos[0]
    bads = {name for other in infos for name in other["bads"]}
    shared = set(forward["sol"]["row_names"])
    in_forward = [name for name in info["ch_names"] if name in shared]
    if not in_forward:
        raise ValueError(
            f"Data ({_some(info['ch_names'])}) and forward solution ({_some(shared)}) have no "
            "channel in common: rename with inst.rename_channels, or compute the forward "
            "solution from inst.info."
        )
    if noise_cov is not None:
        if not isinstance(noise_cov, mne.Covariance):
            raise TypeError(
                f"noise_cov must be an mne.Covariance or None, got {type(noise_cov).__name__}: "
                "estimate one with mne.compute_covariance(epochs, tmax=0)."
            )
        shared &= set(noise_cov.ch_names)
        bads |= set(noise_cov["bads"])
        if not shared.intersection(in_forward):
            raise ValueError(
                f"The noise covariance ({_some(noise_cov.ch_names)}) has none of the data's "
                f"channels ({_some(in_forward)}): estimate it from the same recording with "
                "mne.compute_covariance(epochs, tmax=0)."
            )
    names = [name for name in in_forward if name in shared and name not in bads]
    if not names:
        raise ValueError(
            f"All {len(in_forward)} channels in common are marked as bad; see inst.info['bads']."
        )
    left = [n for n in in_forward if n not in names and n not in bads]
    if left:
        logger.info("Leaving out %d channels without noise covariance: %s", len(left), _some(left))
    grades = [get_current_comp(i) or 0 for i in (info, forward["info"])]
    if grades[0] != grades[1]:
        raise ValueError(
            f"The data have CTF compensation grade {grades[0]}, the forward solution {grades[1]}: "
            f"call raw.apply_gradient_compensation({grades[1]}) before epoching."
        )
    return names


def check_channels(insts, names) -> None:
    """Do all data have the channels of a prepared problem, in working order."""
    for inst in insts:
        missing = set(names).difference(inst.ch_names)
        bad = set(names).intersection(inst.info["bads"])
        if missing or bad:
            what = f"lack {_some(missing)}" if missing else f"have the bad channels {_some(bad)}"
            raise ValueError(
                f"The data {what}, which the prepared forward solution uses: prepare it again from "
                "these data's info, or call inst.interpolate_bads()."
            )


def check_reference(info: mne.Info, insts) -> mne.Info:
    """Return an info whose EEG has an average-reference projector, if the data allow one."""
    eeg = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    if not len(eeg) or has_average_reference(info):
        return info
    names = [info["ch_names"][k] for k in eeg]
    for inst in insts:
        data = inst.get_data(picks=names)
        if np.abs(data.mean(axis=-2)).max() > 1e-3 * data.std():
            raise ValueError(
                "The EEG has no average reference, which source estimation needs: call "
                'inst.set_eeg_reference("average", projection=True).'
            )
    logger.info("The EEG is average-referenced already; using it as it is.")
    referenced = mne.EvokedArray(np.zeros((len(info["chs"]), 1)), info.copy(), verbose="error")
    referenced.set_eeg_reference("average", projection=True, verbose="error")
    return referenced.info


def check_positions(info: mne.Info, forward: mne.Forward) -> None:
    """Are the sensors of the data where the forward solution has them."""
    chs = {ch["ch_name"]: ch["loc"][:3] for ch in forward["info"]["chs"]}
    eeg = mne.pick_types(info, meg=False, eeg=True, exclude=[])
    if len(eeg):
        ours = np.array([info["chs"][k]["loc"][:3] for k in eeg])
        theirs = np.array([chs[info["ch_names"][k]] for k in eeg])
        apart = 1e3 * np.median(np.linalg.norm(ours - theirs, axis=1))
        if np.isfinite(apart) and np.abs(ours).max() > 0 and apart > 30:
            raise ValueError(
                f"The electrodes lie {apart:.0f} mm (median) from where the forward solution has "
                "them: it belongs to another subject or montage, or the positions are in another "
                "frame or unit. Set them with inst.set_montage (metres) and recompute the forward "
                "solution from inst.info."
            )
    meg = mne.pick_types(info, meg=True, exclude=[])
    ours, theirs = info["dev_head_t"], forward["info"]["dev_head_t"]
    if len(meg) and ours is not None and theirs is not None:
        apart = 1e3 * np.linalg.norm(ours["trans"][:3, 3] - theirs["trans"][:3, 3])
        if apart > 30:
            raise ValueError(
                f"The head lies {apart:.0f} mm from where the forward solution has it in the MEG: "
                "it belongs to another subject or run; recompute it from inst.info."
            )
        if apart > 5:
            warn(f"The head lies {apart:.0f} mm from its place in the forward solution.")


def get_data(insts, ch_names) -> np.ndarray:
    """Finite data of the channels used, shape (n_trials, n_channels, n_times)."""
    data = [inst.get_data(picks=ch_names) for inst in insts]
    data = np.concatenate([d if d.ndim == 3 else d[np.newaxis] for d in data])
    bad = ~np.isfinite(data).all(axis=(0, 2))
    if bad.any():
        raise ValueError(
            f"The data of {_some(np.array(ch_names)[bad])} are not finite (NaN or infinite): mark "
            "these channels as bad in inst.info['bads'], or drop the epochs that hold them."
        )
    if data.shape[2] > 1:
        flat = np.ptp(data, axis=2).max(axis=0) == 0
        if flat.any():
            names = [str(n) for n in np.array(ch_names)[flat]]
            raise ValueError(
                f"Some channels are flat ({_some(names)}): mark them as bad, "
                f"inst.info['bads'] += {names if len(names) < 6 else '[...]'}, interpolate them, "
                "or, if one is the reference electrode, call inst.apply_proj() before."
            )
    return data


def check_rank(noise_cov: mne.Covariance, info: mne.Info, rank) -> None:
    """Compare the rank to use with the covariance's own and with what the projectors leave."""
    if not np.isfinite(noise_cov["data"]).all():
        raise ValueError("The noise covariance is not finite (NaN or infinite).")
    if not np.any(noise_cov["data"]):
        raise ValueError(
            "The noise covariance is zero: estimate it from a baseline with "
            "mne.compute_covariance(epochs, tmax=0), or use mne.make_ad_hoc_cov(info)."
        )
    picked = noise_cov.copy().pick_channels(info["ch_names"], ordered=True, verbose="error")
    estimated = mne.compute_rank(picked, rank=None, info=info, verbose="error")
    used = mne.compute_rank(picked, rank=rank, info=info, verbose="error")
    possible = mne.compute_rank(picked, rank="info", info=info, verbose="error")
    if used != estimated:
        warn(
            f"rank={rank!r} uses {used}, but the noise covariance has {estimated}: dimensions "
            "without noise power are amplified when whitening."
        )
    short = {k: f"{used[k]} of {possible[k]}" for k in used if used[k] < 0.9 * possible[k]}
    if short:
        warn(
            f"The noise covariance spans only {short} dimensions; the rest of the data is "
            "ignored. Regularize it: mne.compute_covariance(..., method='shrunk'), or "
            "mne.cov.regularize(noise_cov, info, rank='info')."
        )


def _some(names) -> str:
    names = sorted(str(n) for n in names)
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
