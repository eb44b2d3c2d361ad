"""SDXL's UNet, and what it keeps from one call of a run to the next."""
