"""Hierarchical sparse Bayesian learning with a Kronecker space-time covariance (Dugh)."""

from mne_kronbayes.apply import apply_kron_bayes, fit_kron_bayes
from mne_kronbayes.compare import compare
from mne_kronbayes.result import KronBayesResult
from mne_kronbayes.skull import learn_skull
from mne_kronbayes.store import read_kron_bayes
from mne_kronbayes.trials import apply_kron_bayes_epochs, apply_kron_bayes_raw

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
