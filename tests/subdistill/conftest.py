"""What the tests of subdistill share."""

import copy

import pytest


@pytest.fixture(scope="session")
def trained():
    pytest.importorskip("torch")
    from distill_cases import trained_teacher

    return trained_teacher()


@pytest.fixture
def teacher(trained):
    """A teacher that knows the classes; each test has its own."""
    return copy.deepcopy(trained)
