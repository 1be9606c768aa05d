"""Studies of the codec, which are no part of the package: run as modules from the root of a checkout."""
