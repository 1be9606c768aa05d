"""Where the slices and tiles of a picture lie, and what hides their borders."""
