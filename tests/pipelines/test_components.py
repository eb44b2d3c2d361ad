"""Loading refuses what is not a whole SDXL model, by name; device and model are chosen as documented."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from pipelines.components import device as device_module
from pipelines.components.accelerators import choose_model
from pipelines.components.cache import ComponentCache
from pipelines.components.device import bfloat16_gain, choose_device, choose_dtype
from pipelines.components.expert import Expert
from pipelines.components.library import Library
from pipelines.components.memory import Memory
from pipelines.components.use import Use
from pipelines.diffusion.latents import decode_pixels, encode_pixels, make_generators, make_pixels
from pipelines.manager import PipelineManager
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.events import Loading
from pipelines.schema.models import Selection, load_catalogue
from pipelines.schema.requests import RefineRequest, TextToImageRequest, make_request
from pipelines.schema.settings import Settings
from tests.pipelines.demo_experts import load_demo_experts

CPU = torch.device("cpu")


@pytest.fixture
def copy_of_demo(tmp_path: Path) -> Path:
    return Path(shutil.copytree(load_catalogue().checkpoints["demo"].source, tmp_path / "copy"))


def make_cache(dtype: torch.dtype = torch.float32) -> ComponentCache:
    return ComponentCache(CPU, dtype, Memory(CPU, "full", fp8=False))


def find(name: str, tmp_path: Path) -> Selection:
    """The selection of a catalogue's name or of a folder."""
    return Selection(Library(tmp_path / "no models", load_catalogue()).find_model(name))


def load(folder: Path) -> None:
    make_cache().expert(Use(find(str(folder), folder), torch.float32), "base", lambda event: None)


def test_a_diffusers_folder_draws_like_the_catalogue_entry(copy_of_demo: Path, tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model=str(copy_of_demo), device="cpu", output_dir=tmp_path / "outputs"))
    result = manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=2)).result(60)
    manager.close()
    assert result.request.size == (256, 256)
    assert result.model == "copy"
    assert result.files[0].is_file()


def test_loading_reports_progress_from_nothing_to_all(tmp_path: Path) -> None:
    reported: list[Loading] = []
    make_cache().expert(Use(find("demo", tmp_path), torch.float32), "base", reported.append)
    fractions = [event.fraction for event in reported]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert "Studio demo · unet" in [event.what for event in reported]


def test_components_are_loaded_with_the_first_request_that_needs_them(tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path))
    assert manager.status().components == ()
    manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=1)).result(60)
    assert {part.source for part in manager.status().components} == {"Studio demo"}
    manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=10, denoising_end=0.5)).result(60)
    assert {part.source for part in manager.status().components} == {"Studio demo", "Studio demo refiner"}
    manager.close()


def test_weights_cut_short_are_refused_by_name(copy_of_demo: Path) -> None:
    weights = copy_of_demo / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"^copy: vae could not be loaded; its files are missing or damaged$"):
        load(copy_of_demo)


def test_pickled_weights_are_never_read(copy_of_demo: Path) -> None:
    weights = copy_of_demo / "vae" / "diffusion_pytorch_model.safetensors"
    state = dict.fromkeys(("a", "b"), torch.zeros(1))
    weights.unlink()
    torch.save(state, weights.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(ModelError, match=r"^copy: vae could not be loaded; its files are missing or damaged$"):
        load(copy_of_demo)


def test_a_folder_without_a_part_of_sdxl_is_refused_by_that_part(copy_of_demo: Path) -> None:
    index_file = copy_of_demo / "model_index.json"
    index = json.loads(index_file.read_text())
    index["text_encoder_2"] = [None, None]
    index_file.write_text(json.dumps(index))
    with pytest.raises(ModelError, match="lists no text_encoder_2"):
        load(copy_of_demo)


def test_a_unet_of_other_channels_is_refused_before_anybody_draws_with_it(copy_of_demo: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(copy_of_demo, subfolder="unet")
    config = {**unet.config, "in_channels": 5}
    for file in (copy_of_demo / "unet").glob("*.safetensors*"):
        file.unlink()
    UNet2DConditionModel.from_config(config).save_pretrained(copy_of_demo / "unet")
    with pytest.raises(ModelError, match="cannot be used as base checkpoint: its UNet must take 4 channels, not 5"):
        load(copy_of_demo)


def test_a_model_that_fails_to_load_is_a_sentence_without_the_hosts_paths(
    copy_of_demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(copy_of_demo / "text_encoder")
    settings = Settings(model=str(copy_of_demo), device="cpu", output_dir=tmp_path / "outputs")
    manager = PipelineManager(settings)
    with pytest.raises(ModelError, match=r"^copy: text_encoder could not be loaded") as caught:
        manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=1)).result(60)
    assert str(tmp_path) not in str(caught.value)
    assert str(tmp_path) in caplog.text
    manager.close()
    with pytest.raises(ModelError, match=r"^copy: text_encoder could not be loaded"):
        PipelineManager(settings.model_copy(update={"preload": True}))


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_a_vae_that_overflows_in_float16_is_kept_in_float32(
    copy_of_demo: Path, dtype: torch.dtype, expected: torch.dtype
) -> None:
    config_file = copy_of_demo / "vae" / "config.json"
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "force_upcast": True}))
    expert = make_cache(dtype).expert(Use(find(str(copy_of_demo), copy_of_demo), dtype), "base", lambda event: None)
    assert (expert.dtype, expert.vae_dtype, expert.vae.dtype) == (dtype, expected, expected)


def test_a_unet_that_takes_no_sizes_is_no_sdxl(copy_of_demo: Path) -> None:
    config_file = copy_of_demo / "unet" / "config.json"
    config = json.loads(config_file.read_text())
    config["addition_embed_type"] = None
    config_file.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="is no SDXL model"):
        load(copy_of_demo)


def test_a_model_without_refiner_says_what_to_do_instead(copy_of_demo: Path, tmp_path: Path, picture: Path) -> None:
    shutil.rmtree(copy_of_demo / "refiner")
    manager = PipelineManager(Settings(model=str(copy_of_demo), device="cpu", output_dir=tmp_path / "outputs"))
    with pytest.raises(ModelError, match="has no refiner; image to image with a low strength comes close"):
        manager.submit(make_request(RefineRequest, {"image": picture}))
    with pytest.raises(InvalidRequest, match=r"denoising_end must be 1, because copy has no refiner, got 0\.8"):
        manager.submit(TextToImageRequest(denoising_end=0.8))
    manager.close()


def test_without_an_accelerator_the_embedded_model_is_chosen_and_the_reason_given(tmp_path: Path) -> None:
    library = Library(tmp_path, load_catalogue())
    model, reason = choose_model(Settings(), "", library)
    assert (model.name, reason) == ("demo", "no accelerator found; --model sdxl asks for full SDXL anyway")
    assert choose_model(Settings(), "some GPU", library)[0].name == "sdxl"
    assert choose_model(Settings(model="demo"), "some GPU", library)[0].name == "demo"


def test_precision_follows_the_device_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for gain, dtype in ((1.0, torch.float32), (2.0, torch.bfloat16)):
        monkeypatch.setattr(device_module, "bfloat16_gain", lambda gain=gain: gain)
        assert choose_dtype(Settings(), CPU) is dtype
        assert choose_dtype(Settings(dtype="float32"), CPU) is torch.float32
    assert choose_dtype(Settings(), torch.device("cuda")) is torch.float16
    assert choose_dtype(Settings(dtype="bfloat16"), CPU) is torch.bfloat16


def test_the_log_says_once_what_was_measured_and_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device_module, "bfloat16_gain", lambda: 2.7182)
    with caplog.at_level(logging.INFO, device_module.__name__):
        manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path))
        assert manager.components.dtype is torch.bfloat16
        manager.close()
    assert caplog.messages == ["bfloat16 is 2.72 times as fast as float32 here: pictures are drawn in bfloat16"]


def test_what_bfloat16_gains_is_measured() -> None:
    assert 0.01 < bfloat16_gain() < 100


@torch.inference_mode()
def test_on_a_cpu_an_autoencoder_computes_channels_last_and_the_same(base: Expert) -> None:
    plain = load_demo_experts()["base"]
    generator = torch.Generator().manual_seed(0)
    latents, upload = torch.randn(2, 4, 8, 8, generator=generator), Image.effect_noise((64, 64), 64).convert("RGB")
    decoded = [decode_pixels(expert.vae, latents, torch.float32) for expert in (base, plain)]
    encoded = [encode_pixels(expert, make_pixels(upload), make_generators((1, 2))) for expert in (base, plain)]
    for ours, theirs in (decoded, encoded):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert base.vae.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert encoded[0].stride() == encoded[1].stride(), "of an upload, which is channels last itself"
    assert base.unet.conv_in.weight.is_contiguous()


@pytest.mark.parametrize("name", ["tpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="device must be auto or one this machine has"):
        choose_device(Settings(device=name))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_embedded_model_draws_on_a_cuda_device_nearly_as_on_the_cpu(tmp_path: Path) -> None:
    pictures = []
    for device in ("cpu", "cuda"):
        settings = Settings(model="demo", device=device, dtype="float32", output_dir=tmp_path)
        manager = PipelineManager(settings)
        request = TextToImageRequest(prompt="a fox on a blue background", seed=3, num_inference_steps=20)
        pictures.append(np.asarray(Image.open(manager.submit(request).result(120).files[0]), float))
        manager.close()
    assert np.abs(pictures[0] - pictures[1]).mean() < 2


def test_a_studio_does_not_start_with_a_refiner_alone(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="which Studio demo refiner does not"):
        PipelineManager(Settings(model="demo-refiner", device="cpu", output_dir=tmp_path))


def test_what_is_not_on_this_disk_is_refused_where_the_host_allows_no_downloads(tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", downloads=False, output_dir=tmp_path))
    assert [entry.name for entry in manager.choices("model")] == ["demo"]
    with pytest.raises(InvalidRequest, match="model must be on the studio's disk: its host allows no downloads"):
        manager.submit(TextToImageRequest(prompt="a fox", model="sdxl"))
    assert manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=1)).result(60).files
    manager.close()


def test_a_model_that_cannot_be_downloaded_ends_its_own_job_and_others_go_on(tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", downloads=True, output_dir=tmp_path))
    waiting = manager.submit(TextToImageRequest(prompt="a fox", model="sdxl"))
    assert manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=1)).result(60).files
    with pytest.raises(ModelError, match=r"SDXL base 1\.0 is not on this disk"):
        waiting.result(60)
    manager.close()


def test_jobs_with_different_checkpoints_are_all_drawn(copy_of_demo: Path, tmp_path: Path) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path / "outputs"))
    manager.library.add_path(copy_of_demo)
    jobs = [
        manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=4, seed=1, model=name), owner)
        for owner in ("ann", "bob")
        for name in ("demo", "copy")
    ]
    results = [job.result(120) for job in jobs]
    assert [result.model for result in results] == ["demo", "copy", "demo", "copy"]
    drawn = [np.asarray(Image.open(result.files[0])) for result in results]
    assert all(np.array_equal(picture, drawn[0]) for picture in drawn), "the copy draws what the original draws"
    manager.close()
