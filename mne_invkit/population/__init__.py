"""Random heads, sensors and montages around the template."""
