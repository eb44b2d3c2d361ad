"""Drafts: pictures that a small autoencoder decodes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import AutoencoderTiny
from PIL import Image

from pipelines.manager import PipelineManager
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.settings import Settings

TINY = load_catalogue().add_ons["demo-tiny"]
shipped = pytest.mark.skipif(not Path(TINY.source).is_dir(), reason="the embedded model has no small autoencoder yet")


def draw(manager: PipelineManager, **values: Any) -> np.ndarray:
    given = {"prompt": "a fox on a blue background", "seed": 1, "num_inference_steps": 8, **values}
    result = manager.submit(make_request(TextToImageRequest, given)).result(60)
    assert result.notices == ()
    return np.asarray(Image.open(result.files[0])).astype(float)


@shipped
def test_a_draft_is_nearly_the_picture_and_not_the_picture(manager: PipelineManager) -> None:
    difference = np.abs(draw(manager, draft=True) - draw(manager)).mean()
    assert 0.1 < difference < 12


@shipped
def test_a_draft_leaves_the_vae_alone(manager: PipelineManager) -> None:
    before = draw(manager)
    draw(manager, draft=True)
    assert np.array_equal(draw(manager), before)


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[PipelineManager]:
    """A studio whose embedded model has a small autoencoder of random weights, in a folder of the test's own."""
    manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path))
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
