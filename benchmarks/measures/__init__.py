"""Everything that `python -m benchmarks cpu` and `gpu` measure, in the order in which it is taken."""

from collections.abc import Callable, Mapping

from benchmarks.figures import Figure
from benchmarks.measures import (
    counts,
    growth,
    host_time,
    picture,
    previews,
    resident,
    serial_queue,
    short_job,
    start,
    trades,
    unet_step,
)
from benchmarks.scene import Scene

MEASURES: Mapping[str, Callable[[Scene], list[Figure]]] = {
    "counts": counts.measure,
    "resident": resident.measure,
    "start": start.measure,
    "previews": previews.measure,
    "host_time": host_time.measure,
    "unet_step": unet_step.measure,
    "picture": picture.measure,
    "short_job": short_job.measure,
    "queue": serial_queue.measure,
    "growth": growth.measure,
    "trades": trades.measure,
}
