"""How well a network does on heads it was not trained on, while it trains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mne_invkit.metrics.arrays import normalized_emd
from mne_invkit.population.draw import Population
from mne_piunet.kernel.grid import SPACING
from mne_piunet.kernel.inputs import MASK
from mne_piunet.training.cases import draw_case

HELD_OUT = 10_000
"""Seeds from here on are never trained on."""

LINES = {"1 source, 20 dB": (1, 20.0), "1 source, 5 dB": (1, 5.0), "5 sources, 20 dB": (5, 20.0)}
"""Number of sources and signal-to-noise ratio (dB) of the published comparisons."""

_BLOCK = 2  # voxels along each side, summed before moving earth: exact transport is slow


class Validation:
    """Fixed examples of heads that no recipe trains on.

    Parameters
    ----------
    population : mne_invkit.population.draw.Population
        The heads.
    n_samples : int
        Examples of each head and line.
    multiple : int
        The sides of the grid are multiples of this.
    """

    def __init__(self, population: Population, n_samples: int = 8, multiple: int = 8):
        self._examples = {line: [] for line in LINES}
        for k, head in enumerate(population):
            rng = np.random.default_rng([7, k])
            case = draw_case(head, rng, multiple=multiple)
            for line, (n_sources, snr) in LINES.items():
                inputs, moments = case.draw(n_samples, rng, n_sources=n_sources, snr=snr)
                self._examples[line].append((inputs, case.targets(moments)))

    def score(self, network: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Mean normalized earth mover's distance of each line, see :func:`score_examples`."""
        return score_examples(network, self._examples)


def score_examples(network: Callable[[np.ndarray], np.ndarray], examples: dict) -> dict[str, float]:
    """Mean normalized earth mover's distance of each line.

    Parameters
    ----------
    network : callable
        From inputs to moments and strengths, both arrays.
    examples : dict of list
        For each line pairs of inputs and targets.

    Returns
    -------
    scores : dict of float
        By line; 0 is perfect, 1 as good as equal strength everywhere.
    """
    scores = {}
    for line, pairs in examples.items():
        values = []
        for inputs, targets in pairs:
            mask = inputs[0, MASK] > 0
            for output, target in zip(network(inputs), targets, strict=True):
                values.append(blocked_emd(target[3], output[3], mask))
        scores[line] = float(np.mean(values))
    return scores


def blocked_emd(target: np.ndarray, output: np.ndarray, mask: np.ndarray) -> float:
    """Normalized earth mover's distance between strengths, on blocks of voxels.

    Parameters
    ----------
    target, output : ndarray, shape grid
        Strengths.
    mask : ndarray of bool, shape grid
        Voxels with sources.

    Returns
    -------
    emd : float
        The distance.
    """
    voxels = np.argwhere(mask)
    member = np.unique(voxels // _BLOCK, axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(member)
    places = np.stack([np.bincount(member, v) / count for v in voxels.T], axis=1)
    strengths = (np.bincount(member, field[mask]) for field in (target, output))
    return normalized_emd(*strengths, SPACING * places)
