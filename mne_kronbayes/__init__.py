"""Hierarchical sparse Bayesian learning with a Kronecker space-time covariance (Dugh)."""

from mne_kronbayes.apply import KronBayesResult, apply_kron_bayes, fit_kron_bayes

__all__ = ["KronBayesResult", "apply_kron_bayes", "fit_kron_bayes"]
