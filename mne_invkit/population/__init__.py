"""Random heads around the template, with sensors and montages."""
