"""Training of the network over a population of heads."""
