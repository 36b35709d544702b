"""Batches of examples, each a function of the step alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mne_invkit.population.draw import Population
from mne_piunet.kernel.inputs import N_MOMENTS
from mne_piunet.training.cases import Case, draw_case
from mne_piunet.training.recipe import Recipe


class Examples:
    """Batches, each a function of the step alone, so that a run can stop anywhere and resume.

    Slot k of the pool holds the case number ``(step + k * lifetime / n_cases) // lifetime`` of
    its own sequence: cases are replaced one after the other, not at once.
    """

    def __init__(self, recipe: Recipe, population: Population, multiple: int):
        self._recipe, self._population, self._multiple = recipe, population, multiple
        self._pool: dict[int, tuple[int, Case]] = {}

    def _case(self, slot: int, step: int) -> Case:
        r = self._recipe
        number = (step + slot * r.lifetime // r.n_cases) // r.lifetime
        if slot not in self._pool or self._pool[slot][0] != number:
            rng = np.random.default_rng([r.seed, 1, slot, number])
            head = self._population[int(rng.integers(len(self._population)))]
            self._pool[slot] = number, draw_case(head, rng, multiple=self._multiple)
        return self._pool[slot][1]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step, padded to a common grid."""
        r = self._recipe
        rng = np.random.default_rng([r.seed, 2, step])
        cases = [self._case(slot, step) for slot in range(r.n_cases)]
        cases.sort(key=lambda case: np.prod(case.physics.grid.shape))
        first = rng.integers(r.n_cases - r.mixed + 1)  # of neighbours in size: less to pad
        parts = []
        for case in cases[first : first + r.mixed]:
            inputs, moments = case.draw(r.batch_size // r.mixed, rng)
            parts.append((inputs, case.targets(moments)))
        inputs, targets = (_padded(p) for p in zip(*parts, strict=True))
        if rng.random() < 0.5:
            inputs, targets = _mirrored(inputs, N_MOMENTS), _mirrored(targets, 3)
        return torch.from_numpy(inputs), torch.from_numpy(targets)


def _padded(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """Stack examples of several grids, with zeros around the smaller ones."""
    shape = np.max([p.shape[2:] for p in parts], axis=0)
    out = np.zeros((sum(map(len, parts)), parts[0].shape[1], *shape), np.float32)
    start = 0
    for p in parts:
        x, y, z = p.shape[2:]
        out[start : start + len(p), :, :x, :y, :z] = p
        start += len(p)
    return out


def _mirrored(fields: np.ndarray, n_moments: int) -> np.ndarray:
    """Swap left and right, in place and in the x components of the leading channels."""
    fields = fields[:, :, ::-1].copy()
    fields[:, 0:n_moments:3] *= -1
    return fields
