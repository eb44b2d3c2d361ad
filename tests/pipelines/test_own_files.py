"""A person's own files, from the folder to the picture: LoRAs, textual inversions and checkpoints by name."""

import json
import pickle
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines.components.expert import Expert
from pipelines.components.use import Use
from pipelines.manager import PipelineManager
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import RefineRequest, TextToImageRequest, make_request
from pipelines.schema.settings import Settings
from tests.adapter_files import write_diffusers_lora, write_embedding, write_kohya_lora


@pytest.fixture(scope="module")
def models(base: Expert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for room in ("checkpoints", "loras", "embeddings"):
        (folder / room).mkdir()
    encoders = (base.text_encoder, base.text_encoder_2)
    write_kohya_lora(folder / "loras" / "ink.safetensors", base.unet, *encoders, seed=1)
    write_diffusers_lora(folder / "loras" / "chalk.safetensors", base.unet, seed=2)
    damaged = write_diffusers_lora(folder / "loras" / "damaged.safetensors", base.unet, seed=3)
    tensors = load_file(damaged)
    first = next(iter(tensors))
    save_file({**tensors, first: torch.full_like(tensors[first], float("nan"))}, damaged)
    widths = [encoder.config.hidden_size for encoder in encoders if encoder is not None]
    write_embedding(folder / "embeddings" / "soft-glow.safetensors", *widths)
    return folder


@pytest.fixture(scope="module")
def own_files(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineManager]:
    settings = Settings(
        model="demo", device="cpu", dtype="float32", models_dir=models, output_dir=tmp_path_factory.mktemp("outputs")
    )
    manager = PipelineManager(settings)
    yield manager
    manager.close()


def draw(manager: PipelineManager, prompt: str = "a fox", **values: Any) -> np.ndarray:
    small = {"prompt": prompt, "seed": 1, "num_inference_steps": 3, "width": 128, "height": 128}
    request = make_request(TextToImageRequest, {**small, **values})
    return np.asarray(Image.open(manager.submit(request).result(60).files[0]))


def weights(manager: PipelineManager) -> dict[str, torch.Tensor]:
    """Every weight of the base, by a name that layers put beside it do not change."""
    own = manager.library.select(TextToImageRequest(), manager.model)
    modules = manager.components.expert(Use(own, torch.float32), "base", lambda event: None).modules
    return {
        f"{part}.{name.replace('.base_layer', '')}": weight.clone()
        for part, module in modules.items()
        for name, weight in module.named_parameters()
        if "lora_" not in name
    }


def test_several_loras_act_with_their_weights_and_leave_no_trace(own_files: PipelineManager) -> None:
    plain, before = draw(own_files), weights(own_files)
    ink = draw(own_files, loras=[{"name": "ink", "weight": 0.8}])
    both = draw(own_files, loras=[{"name": "ink", "weight": 0.8}, {"name": "chalk", "weight": 0.5}])
    weak = draw(own_files, loras=[{"name": "ink", "weight": 0.1}])

    def distance(picture: np.ndarray) -> float:
        return float(np.abs(picture.astype(float) - plain).mean())

    assert 0 < distance(weak) < distance(ink)
    assert not np.array_equal(both, ink)
    assert np.array_equal(draw(own_files, loras=[{"name": "ink", "weight": 0.8}]), ink)
    assert np.array_equal(draw(own_files, loras=[{"name": "ink", "weight": 0}]), plain)
    assert np.array_equal(draw(own_files), plain)
    after = weights(own_files)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_visitors_with_different_loras_take_turns_and_get_their_own_pictures(own_files: PipelineManager) -> None:
    choices: list[list[dict[str, Any]]] = [
        [],
        [{"name": "ink"}],
        [{"name": "chalk"}],
        [{"name": "ink"}, {"name": "chalk"}],
    ]
    alone = [draw(own_files, loras=loras, num_inference_steps=6) for loras in choices]
    small = {"prompt": "a fox", "seed": 1, "num_inference_steps": 6, "width": 128, "height": 128}
    requests = [make_request(TextToImageRequest, {**small, "loras": loras}) for loras in choices]
    jobs = [own_files.submit(request, owner=str(number)) for number, request in enumerate(requests)]
    together = [np.asarray(Image.open(job.result(60).files[0])) for job in jobs]
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(together, alone, strict=True))


def test_a_lora_that_holds_nan_is_refused_and_the_next_picture_is_the_one_before(own_files: PipelineManager) -> None:
    plain, before = draw(own_files), weights(own_files)
    with pytest.raises(ModelError, match=r"damaged\.safetensors.*NaN"):
        draw(own_files, loras=[{"name": "ink"}, {"name": "damaged"}])
    assert np.array_equal(draw(own_files), plain)
    after = weights(own_files)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_name_of_a_textual_inversion_in_a_prompt_is_what_it_means(own_files: PipelineManager) -> None:
    plain = draw(own_files, "a fox, soft glow")
    meant = draw(own_files, "a fox, soft-glow")
    assert not np.array_equal(meant, draw(own_files, "a fox, soft-gloss"))
    assert not np.array_equal(meant, plain)
    assert np.array_equal(draw(own_files, "a fox, embedding:soft-glow"), meant)
    assert np.array_equal(draw(own_files, "a fox, soft glow"), plain)


def test_an_unknown_name_is_answered_with_the_known_ones(own_files: PipelineManager) -> None:
    with pytest.raises(InvalidRequest, match=r"^loras must be one of .*chalk.*, got 'pencil'$"):
        draw(own_files, loras=[{"name": "pencil"}])
    for name in ("../loras/ink", "/etc/hostname", "loras/ink.safetensors"):
        with pytest.raises(InvalidRequest, match=r"^model must be"):
            draw(own_files, model=name)


def truncated(file: Path, whole: bytes) -> None:
    file.write_bytes(whole[: len(whole) // 2])


def disguised(file: Path, _whole: bytes) -> None:
    file.write_bytes(pickle.dumps({"unet": [1.0]}))


def foreign(file: Path, _whole: bytes) -> None:
    save_file({"transformer_blocks.0.attn.to_q.weight": torch.zeros(4, 4)}, file)


def giant(file: Path, _whole: bytes) -> None:
    file.write_bytes(struct.pack("<Q", 2**40) + b"{")


def many(file: Path, _whole: bytes) -> None:
    header = json.dumps({str(k): {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for k in range(100_000)})
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())


@pytest.mark.parametrize("room", ["checkpoints", "loras", "vae", "embeddings"])
@pytest.mark.parametrize("plant", [truncated, disguised, foreign, giant, many])
def test_a_file_that_cannot_be_used_is_listed_with_the_reason_and_harms_nothing(
    own_files: PipelineManager, models: Path, room: str, plant: Callable[[Path, bytes], None]
) -> None:
    plain = draw(own_files)
    (models / room).mkdir(exist_ok=True)
    file = models / room / "planted.safetensors"
    plant(file, (models / "loras" / "ink.safetensors").read_bytes())
    own_files.rescan()
    try:
        (refused,) = own_files.library.refused
        assert refused.file == f"{room}/planted.safetensors"
        assert "planted.safetensors" in refused.reason
        assert str(models) not in refused.reason
        with pytest.raises(InvalidRequest, match=r"loras must be one of .*; planted\.safetensors "):
            draw(own_files, loras=[{"name": "planted"}])
        assert np.array_equal(draw(own_files), plain)
    finally:
        file.unlink()
        own_files.rescan()
    assert own_files.library.refused == ()


def test_a_checkpoint_put_into_the_folder_is_there_after_a_rescan(own_files: PipelineManager, models: Path) -> None:
    plain = draw(own_files)
    with pytest.raises(InvalidRequest, match="model must be one of"):
        draw(own_files, model="mine")
    shutil.copytree(load_catalogue().checkpoints["demo"].source, models / "checkpoints" / "mine")
    own_files.rescan()
    assert "mine" in [entry.name for entry in own_files.choices("model")]
    assert np.array_equal(draw(own_files, model="mine"), plain)


def test_files_that_were_replaced_are_read_anew(own_files: PipelineManager, models: Path, base: Expert) -> None:
    widths = [encoder.config.hidden_size for encoder in (base.text_encoder, base.text_encoder_2) if encoder is not None]
    lora, embedding = models / "loras" / "changing.safetensors", models / "embeddings" / "changing-too.safetensors"
    drawn = []
    for seed in (11, 12):
        write_kohya_lora(models / "new", base.unet, base.text_encoder, base.text_encoder_2, seed=seed).replace(lora)
        write_embedding(models / "new", *widths, seed=seed).replace(embedding)
        own_files.rescan()
        drawn.append((draw(own_files, loras=[{"name": "changing"}]), draw(own_files, "a fox, changing-too")))
    (first_lora, first_embedding), (second_lora, second_embedding) = drawn
    assert not np.array_equal(first_lora, second_lora)
    assert not np.array_equal(first_embedding, second_embedding)


def test_a_refiner_of_other_latents_is_refused_by_name(own_files: PipelineManager) -> None:
    with pytest.raises(InvalidRequest, match="refiner must be made for pictures of 256 pixels, as Studio demo is"):
        draw(own_files, refiner="sdxl-refiner", denoising_end=0.5, num_inference_steps=10)


def test_with_a_budget_checkpoints_are_drawn_side_by_side_as_far_as_it_reaches(models: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        target = models / "checkpoints" / name
        if not target.exists():
            shutil.copytree(load_catalogue().checkpoints["demo"].source, target)
    unets = {0.0: 1, 1.0: 3}
    for budget, expected in unets.items():
        settings = Settings(
            model="demo", device="cpu", models_dir=models, output_dir=tmp_path, memory_budget=budget, max_running=4
        )
        manager = PipelineManager(settings)
        steps = {"num_inference_steps": 12, "width": 128, "height": 128, "prompt": "a fox", "seed": 1}
        requests = [make_request(TextToImageRequest, {**steps, "model": name}) for name in ("demo", "one", "two")]
        jobs = [manager.submit(request, owner) for owner, request in zip("abc", requests, strict=True)]
        most = 0
        while not all(job.is_finished for job in jobs):
            most = max(most, sum(part.name == "unet" for part in manager.status().components))
            time.sleep(0.01)
        assert [job.result(60).model for job in jobs] == ["demo", "one", "two"]
        assert most == expected
        manager.close()


def test_a_refiner_refuses_what_it_would_ignore(own_files: PipelineManager, picture: Path) -> None:
    for field, value in (("loras", [{"name": "ink"}]), ("prompt_2", "a cat"), ("negative_prompt_2", "a cat")):
        request = make_request(RefineRequest, {"image": picture, "prompt": "a fox", field: value})
        with pytest.raises(InvalidRequest, match=f"^{field} must be empty"):
            own_files.submit(request)


def test_a_model_that_is_not_there_is_said_to_be_so(own_files: PipelineManager, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file or folder '.*gone\.safetensors'"):
        own_files.library.find_model(str(tmp_path / "gone.safetensors"))
    page = tmp_path / "page.safetensors"
    page.write_text("<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(ModelError, match="it is text, perhaps a web page"):
        own_files.library.find_model(str(page))
