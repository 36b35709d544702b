"""Batches are functions of the step alone."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mne_piunet.kernel.inputs import MASK
from mne_piunet.training.cases import draw_case
from mne_piunet.training.examples import CaseExamples, PopulationExamples


def test_batches_depend_on_the_step_alone(recipe, heads):
    """Whether or not the steps before were drawn; cases are replaced on the way."""
    one, other = (PopulationExamples(recipe, heads, 4) for _ in range(2))
    for step in range(5):
        inputs, targets = one.batch(step)
    again = other.batch(4)
    assert torch.equal(again[0], inputs)
    assert torch.equal(again[1], targets)
    assert not torch.equal(one.batch(5)[1], targets)


def test_batches_of_a_few_cases(recipe, heads):
    """All examples of a batch are from one case, and other seeds draw others."""
    cases = [draw_case(head, np.random.default_rng(0), multiple=4) for head in heads]
    examples = CaseExamples(recipe, cases)
    grids = {examples.batch(step)[0].shape[2:] for step in range(6)}
    assert grids == {case.voxel_model.grid.shape for case in cases}
    inputs, targets = examples.batch(3)
    assert len(inputs) == len(targets) == recipe.batch_size
    assert (inputs[:, MASK] == inputs[:1, MASK]).all()
    assert torch.equal(CaseExamples(recipe, cases).batch(3)[0], inputs)
    other = CaseExamples(dataclasses.replace(recipe, seed=1), cases)
    assert not torch.equal(other.batch(0)[1], examples.batch(0)[1])
