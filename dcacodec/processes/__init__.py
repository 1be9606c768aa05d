"""Work in other processes of this machine. No knowledge of pictures here."""
