"""Pictures of estimates, with and without a display."""
