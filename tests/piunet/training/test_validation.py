"""Scores on heads that are not trained on."""

import numpy as np
import pytest

from mne_piunet.kernel.inputs import MASK
from mne_piunet.training.validation import CONDITIONS, Validation, held_out_cases

pytest.importorskip("ot")


def test_validation_knows_perfect_from_nothing(heads):
    validation = Validation(held_out_cases(heads), n_samples=2)
    number = MASK + 1  # channel of the density of locations
    uniform = validation.score(lambda x: x[:, [number] * 4])
    physics = validation.score(lambda x: np.linalg.norm(x[:, 3:6], axis=1)[:, None].repeat(4, 1))
    assert set(uniform) == set(physics) == set(CONDITIONS)
    assert all(value == pytest.approx(1, abs=0.15) for value in uniform.values())
    assert all(0.1 < value < 1.0 for value in physics.values())


def test_the_truth_scores_zero_and_examples_are_fixed(heads):
    one, other = (Validation(held_out_cases(heads[:1]), n_samples=2) for _ in range(2))
    truth = iter([targets for pairs in one._examples.values() for _, targets in pairs])
    assert other.score(lambda x: next(truth)) == pytest.approx(
        dict.fromkeys(CONDITIONS, 0), abs=1e-5
    )
