"""From MNE objects to one whitened, oriented, depth-weighted linear inverse problem."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import mne
import numpy as np
import scipy
from mne.utils import logger, verbose

from mne_invkit._docs import fill_doc
from mne_invkit._html import html_table
from mne_invkit._mne import make_projector, share_original_gain
from mne_invkit.inverse import instances
from mne_invkit.inverse.gate import pass_again, pass_gate
from mne_invkit.inverse.priors import depth_options, loose_by_kind, orient_forward
from mne_invkit.inverse.sensors import check_is_forward
from mne_invkit.inverse.values import check_covariance, check_rank, rank_of_types

_SILENT = 1e-12  # of the median power of a location's field; a millimetre from a center has 1e-4

Instance = mne.Evoked | Sequence[mne.Evoked] | mne.BaseEpochs | mne.io.BaseRaw
"""What a solver takes: an Evoked, several with the same channels and times, Epochs, or Raw."""


@dataclass(frozen=True, eq=False)
class InverseProblem:
    """A linear inverse problem ``data = gain @ x + noise`` with unit sensor noise.

    Attributes
    ----------
    data : ndarray, shape (n_trials, n_rank, n_times)
        Whitened data.
    gain : ndarray, shape (n_rank, n_locations * n_orient)
        Whitened gain times ``source_std``, scaled as in MNE such that ``sum(gain ** 2)``
        is its number of rows.
    source_std : ndarray, shape (n_locations * n_orient,)
        Prior standard deviation of each component (A m), which carries depth weighting and
        loose orientation. It is zero at locations that no sensor sees. Amplitudes in A m are
        ``source_std`` times what a solver finds in the scale of `gain`.
    whitener : ndarray, shape (n_rank, n_channels)
        Includes the projectors, the average reference and ``nave``.
    projector : ndarray, shape (n_channels, n_channels)
        The projectors and the average reference alone.
    forward : mne.Forward
        The forward solution with the channels and the orientations of `gain`.
    insts : tuple of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
        Copies of the data, with the channels used if they are in memory: what happens to the
        user's own objects later does not change a result.
    info : mne.Info
        Measurement info of the channels used.
    times : ndarray, shape (n_times,)
        Times in seconds.
    nave : float
        Number of averages by which the noise covariance was divided.
    settings : dict
        The arguments of :func:`mne_invkit.prepare_problem` by name (``noise_cov`` as "given" or
        "ad hoc"), and the ``versions`` of what everything is computed with.

    Notes
    -----
    Without data `data` and `times` are empty, and `insts` is ``()``; see :meth:`with_data`.
    """

    data: np.ndarray
    gain: np.ndarray
    source_std: np.ndarray
    whitener: np.ndarray
    projector: np.ndarray
    forward: mne.Forward
    insts: tuple
    info: mne.Info
    times: np.ndarray
    nave: float
    settings: dict

    @property
    def n_orient(self) -> int:
        """Number of components a location has: 1 (fixed) or 3."""
        return self.gain.shape[1] // self.forward["nsource"]

    @property
    def axes(self) -> np.ndarray:
        """Direction of each component in the head frame, shape (n_locations, n_orient, 3)."""
        return self.forward["source_nn"].reshape(-1, self.n_orient, 3)

    @fill_doc
    def columns(self, active: np.ndarray | None = None) -> np.ndarray | slice:
        """Columns of the gain that belong to some locations.

        Parameters
        ----------
        %(active)s

        Returns
        -------
        columns : ndarray of int, shape (n_active * n_orient,) | slice
            Index of `gain` and `source_std`.
        """
        if active is None:
            return slice(None)
        return (self.n_orient * active[:, np.newaxis] + np.arange(self.n_orient)).ravel()

    @fill_doc
    def std(self, active: np.ndarray | None = None) -> np.ndarray:
        """Prior standard deviation (A m) of the components of some locations.

        Parameters
        ----------
        %(active)s

        Returns
        -------
        std : ndarray, shape (n_active * n_orient,)
            By which a solver's values are multiplied to be amplitudes.
        """
        return self.source_std[self.columns(active)]

    @property
    def noise_basis(self) -> np.ndarray:
        """Sensors in the coordinates of `data`, shape (n_rank, n_channels), orthonormal rows.

        Noise that is independent between sensors with variances v, relative to the noise
        covariance, has the whitened covariance ``noise_basis @ diag(v) @ noise_basis.T``.
        """
        return self.whitener / np.linalg.norm(self.whitener, axis=1, keepdims=True)

    def with_data(self, inst: Instance) -> InverseProblem:
        """Return the same problem for other data.

        Parameters
        ----------
        inst : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
            Data that have all channels of the problem; ``nave`` stays that of the problem.

        Returns
        -------
        problem : InverseProblem
            The problem with the whitened data of `inst`.
        """
        insts = instances.own_instances(inst)
        self.check_fits(insts)
        names = self.info["ch_names"]
        return replace(
            self,
            data=self.whitener @ instances.get_data(insts, names),
            insts=instances.pick_loaded(insts, names),
            times=insts[0].times.copy(),
        )

    def check_fits(self, insts: tuple, **span: int | None) -> None:
        """Raise if the problem does not describe some data.

        Parameters
        ----------
        insts : tuple of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw
            The data.
        **span
            Part of Raw to look at, as in :func:`mne_invkit.inverse.instances.pieces`.
        """
        pass_again(insts, self.info, self.forward, self.projector, **span)

    def summary(self) -> dict[str, str]:
        """Return its sizes in words, by name."""
        n_trials, n_rank, n_times = self.data.shape
        return {
            "Data": f"{n_trials} x {n_times} samples",
            "Channels": f"{len(self.info.ch_names)} channels of rank {n_rank}",
            "Source space": f"{self.forward['nsource']} locations x {self.n_orient}",
        }

    def __repr__(self) -> str:
        return f"<InverseProblem | {', '.join(self.summary().values())}>"

    def _repr_html_(self) -> str:
        return html_table([*self.summary().items(), *self.settings.items()])


@verbose
@fill_doc
def prepare_problem(
    inst: Instance | mne.Info,
    forward: mne.Forward,
    noise_cov: mne.Covariance | None = None,
    *,
    loose: float | str | dict = "auto",
    depth: float | dict | None = 0.8,
    fixed: bool | str = "auto",
    rank: dict | str | None = None,
    verbose=None,
) -> InverseProblem:
    """Pick, reference, whiten, orient and weight, exactly as MNE does.

    Parameters
    ----------
    inst : mne.Evoked | list of mne.Evoked | mne.BaseEpochs | mne.io.BaseRaw | mne.Info
        The data. Several Evokeds must share channels and times; Raw is used whole (crop it
        to your window). An mne.Info prepares the problem without data.
    forward : mne.Forward
        The forward solution.
    %(noise)s
    %(loose)s
    %(depth_sparse)s
    fixed : bool | "auto"
        True is the same as ``loose=0``.
    %(rank_none)s
    %(verbose)s

    Returns
    -------
    problem : InverseProblem
        The problem in arrays, with what is needed to bring estimates back to MNE.

    Raises
    ------
    ValueError
        If data, forward and covariance do not fit together; the message says how to mend it.

    See Also
    --------
    mne_invkit.make_result : Bring what a solver finds back to MNE.

    Examples
    --------
    >>> from mne_invkit import load_sep, prepare_problem, template_forward
    >>> sep = load_sep(verbose=False)
    >>> forward = template_forward(sep.evoked.info, spacing="ico3", verbose=False)
    >>> prepare_problem(sep.evoked, forward, sep.noise_cov, verbose=False)
    <InverseProblem | 1 x 369 samples, 256 channels of rank 255, 1216 locations x 3>
    """
    settings = {
        "noise_cov": "ad hoc" if noise_cov is None else "given",
        "loose": loose, "depth": depth, "fixed": fixed, "rank": rank,
        "versions": ", ".join(f"{m.__name__} {m.__version__}" for m in (mne, np, scipy)),
    }  # fmt: skip
    insts = () if isinstance(inst, mne.Info) else instances.own_instances(inst)
    infos = [i.info for i in insts] or [inst]
    check_is_forward(forward)
    check_rank(rank)
    loose = loose_by_kind(forward["src"], loose, fixed)
    depth = depth_options(depth)
    info = pass_gate(insts, infos, forward, noise_cov)
    ch_names = info["ch_names"]
    rank = rank_of_types(rank, info)
    settings["rank"] = copy(rank)
    nave = _nave(insts) if insts else 1.0
    noise_cov = _noise_covariance(noise_cov, info, nave)
    check_covariance(noise_cov, info, rank, nave=nave)

    picked = mne.pick_channels_forward(forward, ch_names, ordered=True, verbose="error")
    if ch_names == forward["sol"]["row_names"]:
        share_original_gain(picked, forward)  # nothing writes to it: spare the copy
    forward, depth_prior, orient_prior = orient_forward(picked, info, noise_cov, loose, depth, rank)
    whitener, _ = mne.cov.compute_whitener(noise_cov, info, rank=rank, pca=True, verbose="error")
    gain = whitener @ forward["sol"]["data"]
    source_std = np.sqrt(depth_prior * orient_prior)
    source_std[_silent(gain, forward["nsource"])] = 0
    gain *= source_std
    norm = np.linalg.norm(gain)
    if norm == 0:
        raise ValueError("The forward solution is zero on all channels used.")
    scale = np.sqrt(len(gain)) / norm
    gain *= scale
    data = np.zeros((0, len(gain), 0))
    if insts:
        data = whitener @ instances.get_data(insts, ch_names)
    problem = InverseProblem(
        data=data,
        gain=gain,
        source_std=source_std * scale,
        whitener=whitener,
        projector=make_projector([*info["projs"], *noise_cov["projs"]], ch_names)[0],
        forward=forward,
        insts=instances.pick_loaded(insts, ch_names),
        info=info,
        times=insts[0].times.copy() if insts else np.zeros(0),
        nave=nave,
        settings=settings,
    )
    logger.info("Prepared %s", problem)
    return problem


def _silent(gain: np.ndarray, n_locations: int) -> np.ndarray:
    """Components of locations without a field, such as the centre of a sphere for MEG.

    Depth weighting would give them amplitudes without end.
    """
    power = np.sum(gain**2, axis=0)
    of_location = power.reshape(n_locations, -1).sum(axis=1)
    silent = of_location <= _SILENT * np.median(of_location)
    return np.repeat(silent, len(power) // n_locations)


def _nave(insts: tuple) -> float:
    """Number of averages of the data; the harmonic mean keeps the mean noise power."""
    return float(1 / np.mean(1 / np.array(instances.naves(insts))))


def _noise_covariance(noise_cov, info, nave) -> mne.Covariance:
    """Noise covariance of the data, of an average of `nave` trials."""
    if noise_cov is None:
        kinds = set(info.get_channel_types(unique=True))
        if len(kinds) > 1:
            raise ValueError(
                f"noise_cov=None works for one sensor type only, the data have {sorted(kinds)}: "
                "estimate one with mne.compute_covariance(epochs, tmax=0, method='shrunk'), or "
                "pick one type, for instance evoked.pick('eeg')."
            )
        logger.info("No noise covariance given: using an ad hoc diagonal one.")
        noise_cov = mne.make_ad_hoc_cov(info, verbose="error")
    noise_cov = noise_cov.copy()
    noise_cov["data"] = noise_cov["data"] / nave
    return noise_cov
