"""SDXL's trained sizes: a picture of another size tends to show doubled heads or cut subjects."""

import json
from dataclasses import dataclass
from functools import cache
from math import gcd, log

from pipelines.schema.paths import PRESETS
from pipelines.schema.types import SIZE_MULTIPLE


@dataclass(frozen=True)
class Bucket:
    """One trained size, in pixels."""

    width: int
    height: int

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height

    @property
    def ratio(self) -> str:
        """The aspect in smallest whole numbers, for example "13:19"."""
        divisor = gcd(self.width, self.height)
        return f"{self.width // divisor}:{self.height // divisor}"


@cache
def load_buckets(native_size: int) -> tuple[Bucket, ...]:
    """The 40 sizes of SDXL (arXiv:2307.01952, appendix I) scaled to a model of `native_size`, tall ones last."""
    data = json.loads((PRESETS / "resolution_buckets.json").read_text(encoding="utf-8"))
    trained = data["native_size"]
    return tuple(
        Bucket(width=_scale(size["width"], native_size / trained), height=_scale(size["height"], native_size / trained))
        for size in data["sizes"]
    )


def _scale(side: int, factor: float) -> int:
    """A side of another model's size, as a multiple of 8 that its VAE can draw."""
    return round(side * factor / SIZE_MULTIPLE) * SIZE_MULTIPLE


def nearest_bucket(width: int, height: int, native_size: int) -> Bucket:
    """The bucket whose aspect is closest to `width` x `height`, compared as a ratio."""
    aspect = width / height
    return min(load_buckets(native_size), key=lambda bucket: abs(log(bucket.aspect / aspect)))
