"""Slices and tiles of a picture, and the smoothing of seams between slices."""
