"""Denoising: schedulers, conditioning, latents, and the run that ties them together."""
