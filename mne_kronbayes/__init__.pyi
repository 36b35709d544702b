__all__ = [
    "KronBayesResult",
    "apply_kron_bayes",
    "apply_kron_bayes_epochs",
    "apply_kron_bayes_raw",
    "compare",
    "fit_kron_bayes",
    "learn_skull",
    "read_kron_bayes",
]

from .apply import apply_kron_bayes, fit_kron_bayes
from .evidence import compare
from .result import KronBayesResult, read_kron_bayes
from .skull import learn_skull
from .trials import apply_kron_bayes_epochs, apply_kron_bayes_raw
