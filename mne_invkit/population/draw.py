"""A population of random heads around the template, each drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from mne.utils import logger, verbose

from mne_invkit._files import check_new
from mne_invkit._progress import progress_bar
from mne_invkit.heads.template import template_source_space
from mne_invkit.population.forward import compute_gain
from mne_invkit.population.head import Head
from mne_invkit.population.sensors import draw_coils, draw_electrodes, misplace
from mne_invkit.population.shape import (
    draw_anatomy,
    draw_conductivity,
    draw_grid,
    perturb_anatomy,
    warp_cortex,
)

MEG_SHARE = 1 / 3
"""Share of heads in an MEG helmet, when not given."""
_SPACINGS = ("ico4", "oct6")  # 4,857 and 7,779 locations


# %% One head


def head_kind(seed: int, *, src: str | None = None, meg: bool | None = None) -> tuple[str, bool]:
    """Tell what kind of head belongs to a seed.

    Parameters
    ----------
    seed : int
        The seed.
    src : {"volume", "cortex"} | None
        Kind of source space; None draws one of the two with equal probability.
    meg : bool | None
        Whether the head has MEG sensors besides the electrodes; None draws it, for one head in
        three.

    Returns
    -------
    src : {"volume", "cortex"}
        Kind of source space.
    meg : bool
        Whether there are MEG sensors.
    """
    if src not in ("volume", "cortex", None):
        raise ValueError(f'src must be "volume", "cortex" or None, got {src!r}.')
    drawn = np.random.default_rng([seed, 0]).random(2)
    src = src or ("volume" if drawn[0] < 0.5 else "cortex")
    return src, bool(drawn[1] < MEG_SHARE if meg is None else meg)


def make_head(seed: int, *, src: str | None = None, meg: bool | None = None) -> Head:
    """Draw a random head with its source space, sensors and forward models.

    Parameters
    ----------
    seed : int
        The seed. The same seed and options give the same head.
    src : {"volume", "cortex"} | None
        Kind of source space: a regular grid of 7 mm inside the skull, or the template's white
        surface (4,857 or 7,779 vertices) warped into the head. None draws one of them.
    meg : bool | None
        Whether to add MEG sensors to the electrodes, which takes longer. None draws it.

    Returns
    -------
    head : Head
        The head.

    Examples
    --------
    >>> from mne_invkit.population.draw import make_head
    >>> head = make_head(0, src="volume", meg=False)  # doctest: +SKIP
    """
    src, meg = head_kind(seed, src=src, meg=meg)
    for attempt in range(1, 100):
        head = _draw_head(seed, np.random.default_rng([seed, attempt]), src, meg)
        if np.isfinite(head.gain).all() and np.isfinite(head.data_gain).all():
            return head
        logger.debug("Gains of head %d are not finite; drawing it again.", seed)
    raise RuntimeError(f"No head with finite gains found for the seed {seed}.")


def _draw_head(seed, rng, src, meg) -> Head:
    anatomy = draw_anatomy(rng)
    other = perturb_anatomy(anatomy, rng)
    if src == "volume":
        positions, normals = draw_grid([anatomy, other], rng), None
    else:
        cortex = template_source_space(spacing=str(rng.choice(_SPACINGS)), verbose="error")
        positions, normals = warp_cortex(cortex, [anatomy, other])
    sensors = draw_electrodes(anatomy, rng)
    if meg:
        sensors += draw_coils(anatomy, rng)
    return Head(
        seed=seed,
        positions=positions,
        normals=normals,
        gain=compute_gain(anatomy, draw_conductivity(rng), sensors, positions),
        data_gain=compute_gain(
            other, draw_conductivity(rng), misplace(sensors, other, rng), positions
        ),
        sensors=sensors.positions,
        kinds=sensors.kinds,
        names=sensors.names,
    )


# %% Many heads


class Population:
    """A folder of random heads, each computed once.

    Parameters
    ----------
    folder : path-like
        The folder.
    seeds : int | iterable of int
        The seeds of the heads, or their number, counted from seed 0.
    src : {"volume", "cortex"} | None
        Kind of source space of all heads; None draws it for each.
    meg : bool | None
        Whether all heads have MEG sensors; None draws it for each.

    Attributes
    ----------
    folder : pathlib.Path
        The folder.
    seeds : tuple of int
        Seed of each head.
    kinds : tuple of tuple
        For each head the kind of source space and whether there are MEG sensors.

    Examples
    --------
    >>> from mne_invkit.population.draw import Population
    >>> heads = Population("heads", seeds=100)
    >>> heads.build(n_jobs=2)  # doctest: +SKIP
    >>> len(heads)
    100
    """

    def __init__(
        self,
        folder: str | Path,
        seeds: int | Iterable[int],
        *,
        src: str | None = None,
        meg: bool | None = None,
    ):
        self.folder = Path(folder)
        self.seeds = tuple(
            range(seeds) if isinstance(seeds, (int, np.integer)) else map(int, seeds)
        )
        self.kinds = tuple(head_kind(seed, src=src, meg=meg) for seed in self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, i: int) -> Head:
        path = self.path(i)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: call the method build() first.")
        return Head.load(path)

    def path(self, i: int) -> Path:
        """File of a head, whose name tells the seed and the kind.

        Parameters
        ----------
        i : int
            Index of the head.

        Returns
        -------
        path : pathlib.Path
            The file.
        """
        src, meg = self.kinds[i]
        return self.folder / f"head-{self.seeds[i]:06d}-{src}-{'meeg' if meg else 'eeg'}.npz"

    @verbose
    def build(self, n_jobs: int = 2, verbose=None) -> None:
        """Compute the heads that are missing: about 12 s each with EEG, and 25 s with MEG.

        An interrupted build can be run again, since a head is written as a whole or not at all.

        Parameters
        ----------
        n_jobs : int
            Number of processes.
        %(verbose)s
        """
        missing = [i for i in range(len(self)) if not self.path(i).exists()]
        if missing:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise type(error)(
                    f"The folder {self.folder} of the heads cannot be made ({error}): choose one."
                ) from error
            check_new(self.path(missing[0]), overwrite=False)
        logger.info("Computing %d of %d heads.", len(missing), len(self))
        jobs = (delayed(_build)(self.seeds[i], *self.kinds[i], self.path(i)) for i in missing)
        done = Parallel(n_jobs, return_as="generator_unordered")(jobs)
        with progress_bar(len(missing), "heads", "head") as bar:
            for _ in done:
                bar.update()


def _build(seed, src, meg, path) -> None:
    make_head(seed, src=src, meg=meg).save(path)
