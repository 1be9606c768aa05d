"""The network of the paper, in floating point and in fixed point."""
