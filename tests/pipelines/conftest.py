"""The real engine with the embedded model on the CPU, shared by all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from pipelines.components.expert import Expert
from pipelines.components.use import Use
from pipelines.manager import PipelineManager
from pipelines.schema.models import Selection
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.settings import Settings


@pytest.fixture(scope="session")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineManager]:
    settings = Settings(
        model="demo", device="cpu", dtype="float32", output_dir=tmp_path_factory.mktemp("outputs"), preload=True
    )
    manager = PipelineManager(settings)
    yield manager
    manager.close()


@pytest.fixture(scope="session")
def own(manager: PipelineManager) -> Selection:
    """What a request means that names no model."""
    return manager.library.select(TextToImageRequest(), manager.model)


@pytest.fixture(scope="session")
def base(manager: PipelineManager, own: Selection) -> Expert:
    return manager.components.expert(Use(own, torch.float32), "base", lambda event: None)


@pytest.fixture(scope="session")
def refiner(manager: PipelineManager, own: Selection) -> Expert:
    return manager.components.expert(Use(own, torch.float32), "refiner", lambda event: None)


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A yellow disc on blue, 256x256."""
    image = Image.new("RGB", (256, 256), (60, 110, 220))
    ImageDraw.Draw(image).ellipse((64, 64, 192, 192), fill=(250, 210, 60))
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    image.save(path)
    return path


@pytest.fixture(scope="session")
def mask(picture: Path) -> Path:
    """White over the left half of the picture."""
    image = Image.new("L", (256, 256))
    ImageDraw.Draw(image).rectangle((0, 0, 127, 255), fill=255)
    path = picture.with_name("mask.png")
    image.save(path)
    return path
