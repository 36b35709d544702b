"""What tests of killed processes and of damaged files share."""

import pytest
from piunet_cases import front_of_heads


@pytest.fixture(scope="session")
def heads(eeg_info, forwards):
    """Front of two heads, a volume and a cortex."""
    return front_of_heads(eeg_info, forwards)
