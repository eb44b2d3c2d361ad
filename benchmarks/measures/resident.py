"""Bytes of base and refiner that are resident in float16 at true size, from their configurations."""

from benchmarks.figures import Figure, Promise, counted
from benchmarks.memory import true_size_bytes
from benchmarks.scene import Scene

RESIDENT_GB = 11.457


def measure(_scene: Scene) -> list[Figure]:
    """With one text encoder and one VAE for both; beside it what four separate pipelines hold."""
    shared, separate = true_size_bytes()
    promise = Promise("exactly", RESIDENT_GB)
    return [
        counted("base and refiner, true size", round(shared / 1e9, 3), "GB", promise, f"{shared:,} bytes"),
        counted("the same tasks as separate pipelines", round(separate / 1e9, 3), "GB"),
    ]
