"""`python -m benchmarks cpu` or `gpu` for speed, `python -m benchmarks memory` for bytes and for switching."""

import argparse
import os
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
NAMES = "counts,resident,start,previews,host_time,unet_step,picture,short_job,queue,growth,trades"
"""Of the measures, told without importing them."""


def main() -> None:
    """Measures; the exit status is 1 where a promise is broken, 2 where the device is not there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against stock diffusers.")
    parser.add_argument("what", choices=["cpu", "gpu", "memory"])
    parser.add_argument("--pairs", type=int, default=10, help="timed pairs for each measure (default: 10)")
    speed_options = parser.add_argument_group("cpu and gpu")
    speed_options.add_argument("--only", default="", help=f"measures to take (default: {NAMES})")
    speed_options.add_argument("--quick", action="store_true", help="see that all of it works; figures mean nothing")
    speed_options.add_argument(
        "--out", type=Path, default=RESULTS, help="folder for JSON and PNG (default: %(default)s)"
    )
    memory_options = parser.add_argument_group("memory")
    memory_options.add_argument("--device", default="cpu", help="where modes are measured, as of app.py (default: cpu)")
    memory_options.add_argument("--model", default="demo", help="what they are measured with (default: demo)")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # torchvision is not needed here

    if arguments.pairs < 1:
        parser.error(f"--pairs must be at least 1, got {arguments.pairs}")
    if arguments.what == "memory":
        from benchmarks import memory  # after the environment: torch reads it when it is imported

        sys.exit(0 if memory.main(arguments.pairs, arguments.device, arguments.model) else 1)

    from benchmarks import speed
    from benchmarks.measures import MEASURES

    names = [name for name in arguments.only.split(",") if name] or list(MEASURES)
    if unknown := [name for name in names if name not in MEASURES]:
        parser.error(f"--only takes {', '.join(MEASURES)}; got {', '.join(unknown)}")
    if arguments.what == "gpu" and not speed.has_gpu():
        parser.error("gpu needs a CUDA device, and this machine has none")
    kept = speed.main(arguments.what, names, arguments.pairs, arguments.quick, arguments.out)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
