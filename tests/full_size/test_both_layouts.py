"""SDXL of its true size, with random weights: both layouts load to equal tensors, with no network."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from pipelines.components.header import read_header
from pipelines.components.kinds import expect_kind
from pipelines.components.single_file import index_of, load_single_file_part
from tests.full_size.make import make_full_size, make_full_size_lora
from tests.original_layout import Kind, write_original

CLASSES: dict[str, Any] = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
}


@pytest.mark.full_size
@pytest.mark.parametrize("kind", ["base", "refiner", "inpainting"])
def test_both_layouts_of_true_size_load_to_equal_tensors(
    space: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"a socket was opened: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = make_full_size(space, kind, "diffusers")
    file = write_original(folder, space / f"{kind}.safetensors", kind)
    assert expect_kind(file, kind).name == kind
    index = index_of(file)
    assert index == json.loads((folder / "model_index.json").read_text())
    for part, model_class in CLASSES.items():
        if index[part][0] is None:
            continue
        expected = model_class.from_pretrained(folder / part, dtype=torch.bfloat16, local_files_only=True).state_dict()
        found = load_single_file_part(part, file, torch.bfloat16).state_dict()
        assert found.keys() == expected.keys()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.full_size
def test_a_true_size_lora_is_told(space: Path) -> None:
    path = make_full_size_lora(space / "lora.safetensors")
    assert expect_kind(path, "lora").name == "lora"
    assert len(read_header(path).tensors) == 3 * (722 + 72 + 192)
