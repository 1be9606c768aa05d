"""Published weights: which there are, how they are read and made."""
