"""SDXL's parts: where they run, loading them, and keeping one copy of each."""
