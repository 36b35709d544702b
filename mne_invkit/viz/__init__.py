"""Pictures of estimates, drawn with or without a display."""
