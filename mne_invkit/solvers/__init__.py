"""Solvers as plugins, and those of MNE to compare with."""
