"""How well the codec does: metrics and comparisons with other codecs."""
