__all__ = [
    "Distilled",
    "Moments",
    "Objective",
    "Pair",
    "Recipe",
    "Subspace",
    "accuracy",
    "agreement",
    "distill",
    "export_student",
    "fit_subspaces",
    "heatmaps",
    "make_subspace",
    "mark_effect",
    "measure_moments",
    "pair_layers",
    "pixel_flipping",
    "plot_heatmaps",
    "projected_accuracy",
    "select_classes",
]

from .engine import Distilled, distill
from .evaluate import accuracy, projected_accuracy
from .explain import agreement, heatmaps, mark_effect, pixel_flipping, plot_heatmaps
from .export import export_student
from .moments import Moments, measure_moments
from .objectives import Objective, Pair
from .pairing import pair_layers
from .subspace import Subspace, fit_subspaces, make_subspace
from .subtask import select_classes
from .training import Recipe
