"""Every private name of MNE that we use, each with the reason."""

from mne._fiff.compensator import get_current_comp  # CTF: no public way to read the grade
from mne._fiff.proj import make_projector  # the matrix of a list of projectors

__all__ = ["get_current_comp", "make_projector"]
