__all__ = [
    "InverseProblem",
    "InverseResult",
    "Solver",
    "change_skull",
    "estimate_to_nifti",
    "find_solvers",
    "get_solver",
    "load_sep",
    "make_report",
    "make_result",
    "plot_brain",
    "plot_convergence",
    "plot_estimate",
    "plot_sensor_fit",
    "prepare_problem",
    "read_result",
    "region_name",
    "score",
    "simulate_evoked",
    "template_bem",
    "template_forward",
    "template_source_space",
    "template_subjects_dir",
    "template_trans",
]

from .datasets import load_sep
from .heads.conductivity import change_skull
from .heads.regions import region_name
from .heads.template import (
    template_bem,
    template_forward,
    template_source_space,
    template_subjects_dir,
    template_trans,
)
from .inverse.problem import InverseProblem, prepare_problem
from .inverse.result import InverseResult, make_result
from .metrics.estimates import score
from .report import make_report
from .simulation.evoked import simulate_evoked
from .solvers.files import read_result
from .solvers.registry import Solver, find_solvers, get_solver
from .viz.brain import plot_brain
from .viz.estimate import plot_estimate
from .viz.fit import plot_convergence, plot_sensor_fit
from .viz.snapshot import estimate_to_nifti
