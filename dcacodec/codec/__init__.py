"""Encoding and decoding of pictures: combines network, entropy coder and container."""
