"""The `.dca` container (docs/reference/format.md is the specification): bytes only, no torch and no NumPy."""
