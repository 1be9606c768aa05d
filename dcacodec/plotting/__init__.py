"""Figures as files, for benchmarks, training and research. Needs Matplotlib (the extra `bench`)."""
