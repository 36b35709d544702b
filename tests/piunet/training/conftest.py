"""A short recipe."""

import pytest

from mne_piunet.training.recipe import Recipe


@pytest.fixture(scope="session")
def recipe():
    """Few steps of a small network."""
    return Recipe(
        n_heads=2, widths=(8, 16), n_residual=(1, 2), n_steps=4, batch_size=4, n_cases=3, mixed=2,
        lifetime=3, warmup=2, transport=0.5,
    )  # fmt: skip
