"""Published weights: registry, reading and export."""
