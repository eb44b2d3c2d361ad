"""`python -m benchmarks cpu` and `gpu`: takes the measures one after the other and reports them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.machine import describe_machine
from benchmarks.measures import MEASURES
from benchmarks.report import Report
from benchmarks.scene import Scene


def has_gpu() -> bool:
    """Whether there is a CUDA device."""
    return torch.cuda.is_available()


def main(what: str, names: Sequence[str], pairs: int, quick: bool, out: Path) -> bool:
    """Prints a table for each measure and writes `what`.json and `what`.png to `out`; False for a broken promise."""
    device = torch.device("cpu" if what == "cpu" else "cuda")
    report = Report(describe_machine(device) | {"pairs": 1 if quick else pairs, "quick": quick})
    print(*(f"{key}: {value}" for key, value in report.machine.items()), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(device, report.machine["dtype"], report.machine["pairs"], quick, Path(folder))
        for name in names:
            torch.set_num_threads(scene.cores)
            report.add(name, MEASURES[name](scene))
            report.write(out, what)
    broken = [] if quick else report.broken
    verdict = "some promises are broken" if broken else "all promises kept"
    print("", *(f"BROKEN: {name}" for name in broken), sep="\n")
    print(f"{'all of it works, its figures mean nothing' if quick else verdict}; written to {out}/{what}.json")
    return not broken
