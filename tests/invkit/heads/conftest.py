"""The template's head model and frames."""

import mne
import pytest

from mne_invkit.heads.template import template_bem, template_trans


@pytest.fixture(scope="session")
def bem():
    return template_bem(verbose=False)


@pytest.fixture(scope="session")
def trans():
    return template_trans()


@pytest.fixture(scope="session")
def in_mri(trans):
    """From the head frame to the MRI frame."""
    return lambda positions: mne.transforms.apply_trans(trans, positions)
