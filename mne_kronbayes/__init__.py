"""Hierarchical sparse Bayesian learning with a Kronecker space-time covariance (Dugh)."""
