"""Recordings with a known truth."""
