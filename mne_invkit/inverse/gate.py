"""The gate that all data pass, whichever solver they are for, before anything takes long."""

from __future__ import annotations

import mne
import numpy as np

from mne_invkit.inverse import sensors
from mne_invkit.inverse.values import check_survey, survey_data


def pass_gate(
    insts: tuple,
    infos: list[mne.Info],
    forward: mne.Forward,
    noise_cov: mne.Covariance | None,
    **span: int | None,
) -> mne.Info:
    """Raise, or warn, unless data, forward solution and noise covariance fit together.

    Parameters
    ----------
    insts : tuple of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data, none to look at sensors alone.
    infos : list of mne.Info
        Measurement info of each, or of the sensors.
    forward : mne.Forward
        The forward solution.
    noise_cov : mne.Covariance | None
        The noise covariance.
    **span
        Part of Raw to look at, as in :func:`mne_invkit.inverse.instances.pieces`.

    Returns
    -------
    info : mne.Info
        The channels used, with an average reference if there are EEG channels.
    """
    sensors.check_forward(forward)
    names = sensors.common_channels(infos, forward, noise_cov)
    sensors.check_same_projectors(infos, names)
    picked = [pick_named(info, names) for info in infos]
    for info in picked:
        sensors.check_positions(info, forward)
    for inst, one in zip(insts, picked, strict=False):  # each by itself: others hide nothing
        survey = survey_data((inst,), one, **span)
        sensors.check_reference(one, survey)
        check_survey(survey, one)
    return sensors.check_reference(picked[0], None)


def pass_again(
    insts: tuple, info: mne.Info, forward: mne.Forward, projector: np.ndarray, **span: int | None
) -> None:
    """Raise, or warn, unless a prepared problem describes some data.

    Parameters
    ----------
    insts : tuple of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        The data.
    info : mne.Info
        Channels of the problem.
    forward : mne.Forward
        Forward solution of the problem.
    projector : ndarray, shape (n_channels, n_channels)
        Projector of the problem.
    **span
        Part of Raw to look at, as in :func:`mne_invkit.inverse.instances.pieces`.
    """
    infos, names = [inst.info for inst in insts], info["ch_names"]
    sensors.check_channels(infos, info, projector)
    sensors.check_same_projectors(infos, names)
    for inst in insts:
        picked, survey = pick_named(inst.info, names), survey_data((inst,), info, **span)
        sensors.check_coils(picked, forward, names)
        sensors.check_positions(picked, forward)
        sensors.check_reference(picked, survey)
        check_survey(survey, info)


def pick_named(info: mne.Info, names: list[str]) -> mne.Info:
    """Info of some channels, in their order.

    Parameters
    ----------
    info : mne.Info
        Measurement info.
    names : list of str
        Names of channels.

    Returns
    -------
    info : mne.Info
        A copy with these channels.
    """
    position = {name: k for k, name in enumerate(info["ch_names"])}
    return mne.pick_info(info, [position[name] for name in names])
