"""A short recipe."""

import pytest
from piunet_cases import RECIPE


@pytest.fixture(scope="session")
def recipe():
    """Few steps of a small network."""
    return RECIPE
