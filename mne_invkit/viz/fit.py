"""Convergence, the response at the sensors, and the fit to it: pictures and numbers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import mne
import numpy as np
from matplotlib.figure import Figure

from mne_invkit._mne import make_projector
from mne_invkit.inverse.problem import Instance
from mne_invkit.viz.findings import in_ms

_WIDTH = 9.0  # inches
_ACCENT = "#dd3a1d"
_ARTIFACT = 0.005  # s around the stimulus, where its artifact may be larger than any response


def plot_convergence(trace: np.ndarray) -> Figure:
    """Draw the cost of a solver against its iterations.

    Parameters
    ----------
    trace : array-like, shape (n_iterations,)
        Cost after each iteration.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The picture.
    """
    trace = np.asarray(trace, float)
    if trace.ndim != 1 or not len(trace):
        raise ValueError(f"trace must be a vector of costs, got the shape {trace.shape}.")
    fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    ax.plot(np.arange(1, len(trace) + 1), trace, ".-", color=_ACCENT, lw=1.5, ms=5)
    ax.set(xlabel="Iteration", ylabel="Cost", title=f"Final cost {trace[-1]:.6g}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    return fig


# %% The response


def response_time(evoked: mne.Evoked) -> float:
    """Time of the response: that of the maximum of the global field power.

    Parameters
    ----------
    evoked : mne.Evoked
        The data. Types of sensors count equally.

    Returns
    -------
    time : float
        Time in s. Left out are the time before the stimulus (or the end of the baseline, if it
        has been corrected) and 5 ms around the stimulus, where its artifact may be, unless
        nothing else is there.
    """
    power = np.zeros(len(evoked.times))
    for kind in sensor_types(evoked):
        field = evoked.copy().pick(kind).data
        spread = field.std(axis=0) if kind == "eeg" else np.sqrt(np.mean(field**2, axis=0))
        power += spread**2 / max(np.mean(spread**2), np.finfo(float).tiny)
    times = evoked.times
    start = times[0]
    if evoked.baseline is not None:
        start = evoked.baseline[1]
    elif times[0] < 0:
        start = 0.0
    response = (times > start) & (np.abs(times) > _ARTIFACT)
    if times[0] > 0 or not response.any():
        response[:] = True
    return float(times[np.where(response, power, -1).argmax()])


def sensor_types(inst: Instance) -> list[str]:
    """Types of sensors that source estimates explain: "mag", "grad" and "eeg", as present.

    Parameters
    ----------
    inst : mne.Evoked
        The data.

    Returns
    -------
    types : list of str
        Those with a good channel.
    """
    good = mne.pick_info(inst.info, mne.pick_types(inst.info, meg=True, eeg=True))
    return [kind for kind in ("mag", "grad", "eeg") if kind in good.get_channel_types(unique=True)]


def plot_response(evoked: mne.Evoked, time: float) -> list[Figure]:
    """Draw the data: all channels, colored by their places, and a map at one time.

    Parameters
    ----------
    evoked : mne.Evoked
        The data.
    time : float
        Time of the map in s.

    Returns
    -------
    figures : list of matplotlib.figure.Figure
        One for each type of sensor. Channels without positions get no maps.
    """
    figures = []
    for kind in sensor_types(evoked):
        field = evoked.copy().pick(kind)
        if _can_be_mapped(field):
            figure = field.plot_joint(time, show=False, title=kind.upper())
            figure.axes[0].set_title(in_ms(time))  # of the map
            figure.axes[-1].set_title(_unit(kind), fontsize=9)  # of the bar
            figures.append(figure)
        else:
            figures.append(field.plot(show=False))
    return figures


# %% The fit


def explained_by_type(evoked: mne.Evoked, residual: mne.Evoked) -> dict[str, float]:
    """Share of the raw data that is explained, for each type of sensor.

    Whitened data, which solvers explain, weigh each channel by its noise. Raw data do not.

    Parameters
    ----------
    evoked : mne.Evoked
        The data.
    residual : mne.Evoked
        What the estimate does not explain.

    Returns
    -------
    explained : dict of float
        Percent by the type of sensor.
    """
    explained = {}
    for kind in sensor_types(residual):
        data, left = _parts(evoked, residual, kind)
        power = (data.data**2).sum()
        explained[kind] = 100 * (1 - (left.data**2).sum() / power) if power else 0.0
    return explained


def plot_sensor_fit(
    evoked: mne.Evoked, residual: mne.Evoked, *, time: float | None = None
) -> Figure:
    """Draw the data, the part that the estimate explains, and the residual at the sensors.

    Parameters
    ----------
    evoked : mne.Evoked
        The data.
    residual : mne.Evoked
        What the estimate does not explain, at the same times. It may have fewer channels.
    time : float | None
        Time of the maps in s, by default that of the maximum of the global field power after
        the stimulus.

    Returns
    -------
    fig : matplotlib.figure.Figure
        For each type of channel, the three as time courses and as maps. A map of planar
        gradiometers shows the magnitude of each pair. Channels without positions get no maps.
    """
    for name, given in (("evoked", evoked), ("residual", residual)):
        if not isinstance(given, mne.Evoked):
            raise TypeError(
                f"{name} must be an Evoked, got {type(given).__name__}: of several pass one, such "
                "as evoked[0] and result.residual[0]; of Epochs their averages."
            )
    if residual.data.shape[1] != len(evoked.times):
        raise ValueError(
            f"residual has {residual.data.shape[1]} times and evoked {len(evoked.times)}: pass "
            "the evoked that the estimate was made from."
        )
    types = sensor_types(residual)
    time = response_time(evoked) if time is None else time
    half = 0.5 / evoked.info["sfreq"]
    if not evoked.tmin - half <= time <= evoked.tmax + half:
        raise ValueError(
            f"time={time:g} s lies outside of evoked, which spans {evoked.tmin:g} to "
            f"{evoked.tmax:g} s."
        )
    explained = explained_by_type(evoked, residual)
    fig, axes = plt.subplots(
        2 * len(types), 3, figsize=(_WIDTH, 4.2 * len(types)), layout="constrained",
        squeeze=False, gridspec_kw={"height_ratios": [1, 1] * len(types)},
    )  # fmt: skip
    for k, kind in enumerate(types):
        data, left = _parts(evoked, residual, kind)
        fitted = mne.EvokedArray(data.data - left.data, data.info, data.times[0], verbose="error")
        parts = {
            f"{kind.upper()} data": data,
            f"Explained, {explained[kind]:.1f} % (raw)": fitted,
            "Residual": left,
        }
        _draw_courses(axes[2 * k], parts, kind, time)
        _draw_maps(axes[2 * k + 1], list(parts.values()), kind, time)
    return fig


def _parts(evoked, residual, kind) -> tuple[mne.Evoked, mne.Evoked]:
    """Data and residual of one type of channel, with the projectors of the residual."""
    left = residual.copy().pick(kind)
    data = evoked.copy().pick(left.ch_names)
    with mne.use_log_level("error"):  # channels that are left out were told of by the solver
        data.data = make_projector(left.info["projs"], left.ch_names)[0] @ data.data
    return data, left


def _draw_courses(axes, parts: dict, kind: str, time: float) -> None:
    """Draw time courses of all channels."""
    scale = mne.defaults.DEFAULTS["scalings"][kind]
    bound = 1.05 * scale * np.abs(next(iter(parts.values())).data).max(initial=0) or 1.0
    for ax, (name, part) in zip(axes, parts.items(), strict=True):
        ax.plot(1e3 * part.times, scale * part.data.T, color="gray", lw=0.5, alpha=0.6)
        ax.axvline(1e3 * time, color=_ACCENT, lw=1)
        ax.set(title=name, xlabel="Time (ms)", ylim=(-bound, bound))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(_unit(kind))


def _draw_maps(axes, parts: list, kind: str, time: float) -> None:
    """Draw maps with the limits of the first, and a bar with their unit."""
    for ax in axes:
        ax.axis("off")
    k = parts[0].time_as_index(time, use_rounding=True)[0]
    fields = [mne.defaults.DEFAULTS["scalings"][kind] * part.data[:, k] for part in parts]
    info = parts[0].info
    try:
        mne.viz.plot_topomap(fields[0], info, axes=axes[0], show=False)
    except (ValueError, RuntimeError):  # no places, or planar gradiometers without partners
        return
    low, high = axes[0].images[0].get_clim()
    one_sided = low >= 0  # magnitudes
    high = max(abs(low), abs(high)) or 1.0
    limits, cmap = ((0, high), "Reds") if one_sided else ((-high, high), "RdBu_r")
    axes[0].images[0].set(clim=limits, cmap=cmap)
    for ax, field in zip(axes[1:], fields[1:], strict=True):
        mne.viz.plot_topomap(field, info, axes=ax, vlim=limits, cmap=cmap, show=False)
    for ax in axes:
        ax.set_title(in_ms(time), fontsize=9)
    label = f"Magnitude ({_unit(kind)})" if one_sided else _unit(kind)
    bar = axes[0].figure.colorbar(axes[0].images[0], ax=list(axes), shrink=0.8, pad=0.01)
    bar.set_label(label)
    bar.ax.tick_params(labelsize=8)


def _can_be_mapped(evoked: mne.Evoked) -> bool:
    """Whether channels of one type have places, and planar gradiometers their partners."""
    info = mne.pick_info(evoked.info, mne.pick_types(evoked.info, meg=True, eeg=True))
    ax = Figure().subplots()
    try:
        mne.viz.plot_topomap(np.zeros(len(info["chs"])), info, axes=ax, res=8, show=False)
    except (ValueError, RuntimeError):
        return False
    return True


def _unit(kind: str) -> str:
    return mne.defaults.DEFAULTS["units"][kind]
