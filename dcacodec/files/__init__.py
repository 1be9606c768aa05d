"""Files: where they lie, and how they are read and written."""
