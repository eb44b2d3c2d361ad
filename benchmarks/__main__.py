"""`python -m benchmarks cpu` for speed, `python -m benchmarks memory` for bytes and for switching."""

import argparse
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against stock diffusers.")
    parser.add_argument("measure", choices=["cpu", "memory"])
    parser.add_argument("--pairs", type=int, default=10, help="timed pairs for each measure (default: 10)")
    parser.add_argument("--device", default="cpu", help="where memory modes are measured, as of app.py (default: cpu)")
    parser.add_argument("--model", default="demo", help="what they are measured with (default: demo)")
    arguments = parser.parse_args()

    from benchmarks import cpu, memory  # after the environment: torch reads it when it is imported

    if arguments.measure == "cpu":
        kept = cpu.main(arguments.pairs)
    else:
        kept = memory.main(arguments.pairs, arguments.device, arguments.model)
    sys.exit(0 if kept else 1)
