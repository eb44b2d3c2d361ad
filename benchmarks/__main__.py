"""`python -m benchmarks cpu [--pairs N]`."""

import argparse
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against stock diffusers.")
    parser.add_argument("device", choices=["cpu"])
    parser.add_argument("--pairs", type=int, default=10, help="timed pairs for each measure (default: 10)")
    arguments = parser.parse_args()

    from benchmarks import cpu  # after the environment: torch reads it when it is imported

    sys.exit(0 if cpu.main(arguments.pairs) else 1)
