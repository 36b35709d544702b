"""Shared ground of the inverse solvers: problems, estimates, heads, pictures, reports."""

__version__ = "0.1.0.dev0"
