"""Batches of training examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mne_invkit.population.draw import Population
from mne_piunet._docs import fill_doc
from mne_piunet.kernel.inputs import N_MOMENTS
from mne_piunet.training.cases import Case, draw_case
from mne_piunet.training.recipe import Recipe


class Examples(ABC):
    """Batches of examples.

    A batch is a function of the step alone, so that a run can stop anywhere and resume.
    """

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw the batch of a step.

        Parameters
        ----------
        step : int
            Number of the step, from 0 on.

        Returns
        -------
        inputs : Tensor, shape (batch, N_INPUTS, *grid)
            Inputs of the network.
        targets : Tensor, shape (batch, 4, *grid)
            What it should answer.
        """
        inputs, targets = self._draw(step)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    @abstractmethod
    def _draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the arrays of a batch."""


@fill_doc
class PopulationExamples(Examples):
    """Batches from random heads.

    Slot k of the pool holds case number ``(step + k * lifetime / n_cases) // lifetime`` of its
    own sequence: new cases replace old ones one after the other, not all at once.

    Parameters
    ----------
    recipe : Recipe
        The recipe of the run.
    population : mne_invkit.population.draw.Population
        The heads.
    %(multiple)s
    """

    def __init__(self, recipe: Recipe, population: Population, multiple: int):
        self._recipe, self._population, self._multiple = recipe, population, multiple
        self._pool: dict[int, tuple[int, Case]] = {}

    def _draw(self, step):
        r = self._recipe
        rng = np.random.default_rng([r.seed, 2, step])
        cases = [self._case(slot, step) for slot in range(r.n_cases)]
        cases.sort(key=lambda case: np.prod(case.voxel_model.grid.shape))
        first = rng.integers(r.n_cases - r.mixed + 1)  # cases of similar size need less padding
        some = cases[first : first + r.mixed]
        parts = [case.draw(r.batch_size // r.mixed, rng) for case in some]
        inputs, targets = (_padded(p) for p in zip(*parts, strict=True))
        if rng.random() < 0.5:
            inputs, targets = _mirrored(inputs, N_MOMENTS), _mirrored(targets, 3)
        return inputs, targets

    def _case(self, slot: int, step: int) -> Case:
        r = self._recipe
        number = (step + slot * r.lifetime // r.n_cases) // r.lifetime
        if slot not in self._pool or self._pool[slot][0] != number:
            rng = np.random.default_rng([r.seed, 1, slot, number])
            head = self._population[int(rng.integers(len(self._population)))]
            self._pool[slot] = number, draw_case(head, rng, multiple=self._multiple)
        return self._pool[slot][1]


class CaseExamples(Examples):
    """Batches from a few cases, each batch from one of them.

    Parameters
    ----------
    recipe : Recipe
        The recipe of the run.
    cases : sequence of Case
        The cases.
    """

    def __init__(self, recipe: Recipe, cases: Sequence[Case]):
        self._recipe, self._cases = recipe, cases

    def _draw(self, step):
        rng = np.random.default_rng([self._recipe.seed, 2, step])
        case = self._cases[rng.integers(len(self._cases))]
        return case.draw(self._recipe.batch_size, rng)


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
    """Swap left and right; the x components of the first channels change their signs, too."""
    fields = fields[:, :, ::-1].copy()
    fields[:, 0:n_moments:3] *= -1
    return fields
