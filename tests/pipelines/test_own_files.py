"""A person's own files, from the folder to the picture: LoRAs, textual inversions and checkpoints by name."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines.components.expert import Expert
from pipelines.manager import PipelineManager
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import TextToImageRequest, make_request
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
    modules = manager.components.expert(own, "base", lambda event: None).modules
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
        with pytest.raises(InvalidRequest, match="must be one of"):
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
