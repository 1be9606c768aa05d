"""Locations of files, bounded reading, atomic writing, and locks."""
