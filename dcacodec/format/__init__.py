"""The `.dca` container (docs/format.md is the specification): bytes only, no torch and no NumPy."""
