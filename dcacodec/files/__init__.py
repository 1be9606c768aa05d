"""Locations of files, bounded reading and atomic writing."""
