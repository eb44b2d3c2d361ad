"""Drafts: pictures that a small autoencoder decodes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines import rounds
from pipelines.components import cache
from pipelines.diffusion import latents
from pipelines.manager import PipelineManager
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.events import Result
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.settings import Settings

TINY = load_catalogue().add_ons["demo-tiny"]
shipped = pytest.mark.skipif(not Path(TINY.source).is_dir(), reason="the embedded model has no small autoencoder yet")


def submit(manager: PipelineManager, **values: Any) -> Result:
    given = {"prompt": "a fox on a blue background", "seed": 1, "num_inference_steps": 8, **values}
    return manager.submit(make_request(TextToImageRequest, given)).result(60)


def pixels(result: Result) -> np.ndarray:
    return np.asarray(Image.open(result.files[-1])).astype(float)


def draw(manager: PipelineManager, **values: Any) -> np.ndarray:
    result = submit(manager, **values)
    assert result.notices == ()
    return pixels(result)


@shipped
def test_a_draft_is_nearly_the_picture_and_not_the_picture(manager: PipelineManager) -> None:
    difference = np.abs(draw(manager, draft=True) - draw(manager)).mean()
    assert 0.1 < difference < 12


@shipped
def test_a_draft_leaves_the_vae_alone(manager: PipelineManager) -> None:
    before = draw(manager)
    draw(manager, draft=True)
    assert np.array_equal(draw(manager), before)


@pytest.fixture(params=["float32"])
def unread(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PipelineManager]:
    """A studio whose embedded model has a small autoencoder of random weights, in a folder of the test's own."""
    manager = PipelineManager(Settings(model="demo", device="cpu", dtype=request.param, output_dir=tmp_path))
    tiny = TINY.model_copy(update={"source": str(tmp_path / "tiny")})
    channels = (8, 8, 8, 8)
    AutoencoderTiny(decoder_block_out_channels=channels, encoder_block_out_channels=channels).save_pretrained(
        tiny.source
    )
    manager.library._catalogue.add_ons["demo-tiny"] = tiny
    manager.rescan()
    yield manager
    manager.close()


def test_it_is_the_small_autoencoder_that_decodes(unread: PipelineManager) -> None:
    assert np.abs(draw(unread, draft=True) - draw(unread)).mean() > 20


def test_one_that_is_damaged_is_named(unread: PipelineManager, tmp_path: Path) -> None:
    weights = tmp_path / "tiny" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="Studio demo, small decoder could not be read"):
        draw(unread, draft=True)


def test_a_model_without_one_draws_no_drafts(unread: PipelineManager) -> None:
    del unread.library._catalogue.add_ons["demo-tiny"]
    unread.rescan()
    with pytest.raises(InvalidRequest, match="draft must be off: Studio demo has no small autoencoder"):
        draw(unread, draft=True)


# A small autoencoder that gives no picture


class Calls:
    """Counts what the device does: steps, decodes, parts read from the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: dict[str, int] = dict.fromkeys(("predict", "decode_pixels", "load_part"), 0)
        for owner, name in ((rounds, "predict"), (latents, "decode_pixels"), (cache, "load_part")):
            monkeypatch.setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, call: Any) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return call(*args, **options)

        return counted


def spoil(file: Path, number: float) -> None:
    """Fills the decoder's last layer."""
    tensors = load_file(file)
    name = max((name for name in tensors if name.startswith("decoder")), key=lambda name: int(name.split(".")[2]))
    save_file({**tensors, name: torch.full_like(tensors[name], number)}, file, {"format": "pt"})


@pytest.mark.parametrize("unread", ["float32", "bfloat16"], indirect=True)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_the_small_autoencoder_makes_no_picture_of_the_vae_decodes(
    unread: PipelineManager, tmp_path: Path, number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = draw(unread)
    spoil(tmp_path / "tiny" / "diffusion_pytorch_model.safetensors", number)
    calls = Calls(monkeypatch)
    result = submit(unread, draft=True)
    assert result.notices == ("decoded_by_vae",)
    assert calls.counts == {"predict": 8, "decode_pixels": 2, "load_part": 0}, "only the decoding is done again"
    assert np.array_equal(pixels(result), expected)
    assert np.array_equal(draw(unread), expected)


def test_all_pictures_of_such_a_job_are_the_vaes(
    unread: PipelineManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = draw(unread, seed=3)
    spoil(tmp_path / "tiny" / "diffusion_pytorch_model.safetensors", float("nan"))
    calls = Calls(monkeypatch)
    result = submit(unread, draft=True, num_images_per_prompt=3)
    assert result.notices == ("decoded_by_vae",)
    assert calls.counts["decode_pixels"] == 4, "the small one is asked once"
    assert np.abs(pixels(result) - expected).max() <= 1


@pytest.mark.parametrize("unread", ["bfloat16"], indirect=True)
def test_where_the_vae_overflows_too_it_decodes_in_float32(
    unread: PipelineManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = draw(unread)
    spoil(tmp_path / "tiny" / "diffusion_pytorch_model.safetensors", float("nan"))
    real = latents.decode_pixels

    def overflow(vae: Any, given: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        decoded = real(vae, given, dtype)
        return decoded if dtype == torch.float32 else decoded * float("inf")

    monkeypatch.setattr(latents, "decode_pixels", overflow)
    result = submit(unread, draft=True)
    assert result.notices == ("decoded_by_vae", "decoded_in_float32")
    assert np.abs(pixels(result) - expected).mean() < 2


def test_one_that_was_damaged_in_memory_is_read_anew_for_the_next_draft(unread: PipelineManager) -> None:
    expected, draft = draw(unread), draw(unread, draft=True)
    (tiny,) = unread._engine.decoders._loaded.values()
    with torch.inference_mode():
        next(tiny.decoder.parameters()).fill_(float("nan"))
    assert np.array_equal(pixels(submit(unread, draft=True)), expected)
    assert np.array_equal(draw(unread, draft=True), draft)
