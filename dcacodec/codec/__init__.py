"""Pictures to bytes and back: network, coder and container brought together."""
