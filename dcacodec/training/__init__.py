"""Training a network and publishing its weights."""
