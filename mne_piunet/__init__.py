"""3D-PIUNet: a learned inverse solution, a 3-D U-Net that starts from a pseudo-inverse."""

from mne_piunet.apply import (
    apply_piunet,
    apply_piunet_epochs,
    apply_piunet_raw,
    fit_piunet,
)
from mne_piunet.prepared import PIUNet, make_piunet
from mne_piunet.weights import list_models, load_piunet

__all__ = [
    "PIUNet",
    "apply_piunet",
    "apply_piunet_epochs",
    "apply_piunet_raw",
    "fit_piunet",
    "list_models",
    "load_piunet",
    "make_piunet",
]
