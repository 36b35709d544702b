"""3D-PIUNet: a learned inverse solution, a 3-D U-Net that starts from physics."""

from mne_piunet.apply import (
    apply_piunet,
    apply_piunet_epochs,
    apply_piunet_raw,
    fit_piunet,
)
from mne_piunet.prepared import PIUNet, make_piunet
from mne_piunet.weights import list_models, load_piunet


def __getattr__(name):
    """Load what needs torch when it is asked for."""
    if name == "finetune_piunet":
        from mne_piunet.finetune import finetune_piunet

        return finetune_piunet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "PIUNet",
    "apply_piunet",
    "apply_piunet_epochs",
    "apply_piunet_raw",
    "finetune_piunet",
    "fit_piunet",
    "list_models",
    "load_piunet",
    "make_piunet",
]
