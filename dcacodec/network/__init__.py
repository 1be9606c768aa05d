"""The DCA network, in floating point and in fixed point."""
