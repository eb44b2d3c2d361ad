"""What the studio costs and gains, as ratios against stock diffusers in one run: `python -m benchmarks cpu`."""
