"""Simulated recordings, whose true sources are known."""
