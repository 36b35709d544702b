"""How far an estimate is from the true sources."""
