"""SDXL of its true size draws in every task on the CPU, from single files in the model folders, with no network."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipelines.manager import PipelineManager
from pipelines.schema.requests import REQUESTS, make_request
from pipelines.schema.settings import Settings
from tests.full_size.make import make_full_size, make_full_size_lora

SIZE = 256


@pytest.mark.full_size
def test_two_steps_of_each_task_with_base_refiner_lora_and_inpainting_checkpoint(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"a socket was opened: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    models = space / "models"
    (models / "checkpoints").mkdir(parents=True)
    (models / "loras").mkdir()
    for kind in ("base", "refiner"):
        make_full_size(models / "checkpoints", kind, "original")
    make_full_size_lora(models / "loras" / "ink.safetensors")
    picture, mask = space / "picture.png", space / "mask.png"
    Image.new("RGB", (SIZE, SIZE), "navy").save(picture)
    Image.new("L", (SIZE, SIZE), 255).save(mask)
    manager = PipelineManager(
        Settings(
            model="base",
            device="cpu",
            dtype="bfloat16",
            models_dir=models,
            output_dir=space / "outputs",
            downloads=False,
        )
    )

    def draw(task: str, **values: Any) -> dict[str, int]:
        given = {"prompt": "a fox", "seed": 1, "width": SIZE, "height": SIZE, "num_inference_steps": 2, **values}
        given |= {"image": picture, "strength": 1.0} if task != "text_to_image" else {}
        given |= {"mask_image": mask} if task == "inpaint" else {}
        result = manager.submit(make_request(REQUESTS[task], given)).result(1800)
        with Image.open(result.files[0]) as drawn:
            assert drawn.size == (SIZE, SIZE)
        assert result.notices == ()
        return result.steps

    assert draw("text_to_image") == {"base": 2}
    assert draw("text_to_image", loras=[{"name": "ink", "weight": 0.7}]) == {"base": 2}
    assert draw("image_to_image") == {"base": 2}
    assert draw("inpaint") == {"base": 2}
    assert draw("refine", refiner="refiner") == {"refiner": 2}
    assert draw("text_to_image", refiner="refiner", denoising_end=0.5) == {"base": 1, "refiner": 1}
    loaded = [(part.name, part.source) for part in manager.status().components]
    # both files brought the same VAE and the same second text encoder
    assert sorted(loaded) == [
        ("lora", "ink"), ("text_encoder", "base"), ("text_encoder_2", "base"), ("unet", "base"), ("unet", "refiner"),
        ("vae", "base"),
    ]  # fmt: skip
    (models / "checkpoints" / "refiner.safetensors").unlink()  # makes room on the disk
    make_full_size(models / "checkpoints", "inpainting", "original")
    manager.rescan()
    assert draw("inpaint", model="inpainting") == {"base": 2}
    assert "base" not in {part.source for part in manager.status().components if part.name == "unet"}
    manager.close()


@pytest.mark.gpu
@pytest.mark.full_size
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("memory", ["full", "model", "group", "sequential"])
def test_two_steps_of_each_task_at_full_size_on_a_cuda_device(space: Path, memory: Any) -> None:
    models = space / "models"
    (models / "checkpoints").mkdir(parents=True)
    for kind in ("base", "refiner"):
        make_full_size(models / "checkpoints", kind, "original")
    picture, mask = space / "picture.png", space / "mask.png"
    Image.new("RGB", (1024, 1024), "navy").save(picture)
    Image.new("L", (1024, 1024), 255).save(mask)
    manager = PipelineManager(
        Settings(model="base", device="cuda", dtype="bfloat16", memory=memory, models_dir=models, output_dir=space)
    )
    uploads = {"image": picture, "strength": 1.0, "mask_image": mask}
    for task, request_class in REQUESTS.items():
        given = {name: value for name, value in uploads.items() if name in request_class.model_fields}
        values = {
            "prompt": "a fox",
            "num_inference_steps": 2,
            "refiner": "refiner" if task == "refine" else "",
            **given,
        }
        with Image.open(manager.submit(make_request(request_class, values)).result(600).files[0]) as drawn:
            assert drawn.size == (1024, 1024)
    assert manager.status().memory == memory
    manager.close()
