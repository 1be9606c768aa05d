"""Worker processes on this machine, independent of pictures."""
