"""The mathematics of Dugh, on arrays alone."""
