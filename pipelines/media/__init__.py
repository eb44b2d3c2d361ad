"""Pictures in (decoded safely, fitted, masked), pictures out (pasted back, saved with their request). Never torch."""
