"""Accuracy of a network on cases that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mne_invkit.metrics.arrays import normalized_emd
from mne_invkit.population.head import Head
from mne_piunet._docs import fill_doc
from mne_piunet.kernel.grid import SPACING
from mne_piunet.kernel.inputs import MASK
from mne_piunet.training.cases import Case, draw_case

HELD_OUT = 10_000
"""First seed of the heads that are never trained on."""

CONDITIONS = {
    "1 source, 20 dB": (1, 20.0),
    "1 source, 5 dB": (1, 5.0),
    "5 sources, 20 dB": (5, 20.0),
}
"""Number of sources and signal-to-noise ratio (dB) of the published comparisons."""

_BLOCK_SIDE = 2  # voxels; strengths are summed over blocks, as exact transport is slow


class Validation:
    """Fixed examples of each condition.

    Parameters
    ----------
    cases : iterable of (Case, numpy.random.Generator)
        Cases, each with the generator that draws its examples.
    n_samples : int
        Number of examples of each case and condition.
    """

    def __init__(self, cases: Iterable[tuple[Case, np.random.Generator]], n_samples: int = 8):
        self._examples = {condition: [] for condition in CONDITIONS}
        for case, rng in cases:
            for condition, (n_sources, snr) in CONDITIONS.items():
                drawn = case.draw(n_samples, rng, n_sources=n_sources, snr=snr)
                self._examples[condition].append(drawn)

    def score(self, network: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Compute the mean normalized earth mover's distance of each condition.

        Parameters
        ----------
        network : callable
            From inputs to moments and strengths, both arrays.

        Returns
        -------
        scores : dict of float
            Scores by condition: 0 is perfect, 1 is as good as equal strength everywhere.
        """
        scores = {}
        for condition, pairs in self._examples.items():
            values = []
            for inputs, targets in pairs:
                mask = inputs[0, MASK] > 0
                for output, target in zip(network(inputs), targets, strict=True):
                    values.append(blocked_emd(target[3], output[3], mask))
            scores[condition] = float(np.mean(values))
        return scores


@fill_doc
def held_out_cases(
    population: Iterable[Head], *, multiple: int = 8
) -> Iterator[tuple[Case, np.random.Generator]]:
    """Draw one case from each head, always the same ones.

    Parameters
    ----------
    population : iterable of Head
        The heads.
    %(multiple)s

    Yields
    ------
    case : Case
        The case.
    rng : numpy.random.Generator
        Generator for its examples.
    """
    for k, head in enumerate(population):
        rng = np.random.default_rng([7, k])
        yield draw_case(head, rng, multiple=multiple), rng


def blocked_emd(target: np.ndarray, output: np.ndarray, mask: np.ndarray) -> float:
    """Compute the normalized earth mover's distance between strengths, summed over blocks.

    Parameters
    ----------
    target, output : ndarray, shape grid
        Strengths.
    mask : ndarray of bool, shape grid
        Voxels that hold locations.

    Returns
    -------
    emd : float
        The distance.
    """
    voxels = np.argwhere(mask)
    block = np.unique(voxels // _BLOCK_SIDE, axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(block)
    places = np.stack([np.bincount(block, v) / count for v in voxels.T], axis=1)
    strengths = (np.bincount(block, field[mask]) for field in (target, output))
    return normalized_emd(*strengths, SPACING * places)
