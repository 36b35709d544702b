"""The physics that the network starts from, on arrays alone."""
