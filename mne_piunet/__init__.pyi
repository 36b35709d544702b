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
    "read_piunet",
]

from .apply import apply_piunet, apply_piunet_epochs, apply_piunet_raw, fit_piunet
from .operator import PIUNet, make_piunet, read_piunet
from .training.finetune import finetune_piunet
from .weights import list_models, load_piunet
