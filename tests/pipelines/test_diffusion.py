"""Runs and their parts: who draws which steps, first noise, guided rows, lost latents, previews."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, EulerDiscreteScheduler
from PIL import Image, ImageDraw

from pipelines.diffusion.latents import decode_picture, encode_pixels, make_generators, make_noise, make_pixels
from pipelines.diffusion.plan import make_first_path, make_second_path, plan_steps
from pipelines.diffusion.previews import PREVIEW_SECONDS, PREVIEW_SIDE, LatentPreview, StepReporter, TinyPreview
from pipelines.diffusion.run import Run, predict_picture
from pipelines.diffusion.schedulers import begin_at, make_scheduler, noise_level
from pipelines.diffusion.steps.call import predict
from pipelines.schema.errors import InvalidRequest, ModelError, NumericalError
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import (
    GenerationRequest,
    ImageToImageRequest,
    InpaintRequest,
    RefineRequest,
    TextToImageRequest,
    make_request,
)
from pipelines.schema.schedulers import SCHEDULER_NAMES, SCHEDULER_OPTIONS
from pipelines.tasks import TASKS
from tests.pipelines.demo_experts import draw, load_demo_experts, load_inpainting_experts, prepare_run, select

SMALL = {"prompt": "a fox on a blue background", "seed": 3, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A picture and a mask, 64x64, by the fields that take them."""
    folder = tmp_path_factory.mktemp("pictures")
    image = Image.new("RGB", (64, 64), (60, 110, 220))
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill=(250, 210, 60))
    image.save(folder / "picture.png")
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((0, 0, 31, 63), fill=255)
    mask.save(folder / "mask.png")
    return {"image": folder / "picture.png", "mask_image": folder / "mask.png"}


def ask(request_class: type[GenerationRequest], files: dict[str, Path], **values: Any) -> GenerationRequest:
    uploads = {name: path for name, path in files.items() if name in request_class.model_fields}
    return make_request(request_class, {**SMALL, **uploads, **values})


def words(**values: Any) -> GenerationRequest:
    return ask(TextToImageRequest, {}, **values)


def configs() -> dict[str, dict[str, Any]]:
    return {name: expert.scheduler_config for name, expert in load_demo_experts().items()}


@contextmanager
def counted_rows(unet: torch.nn.Module) -> Iterator[list[int]]:
    rows: list[int] = []
    hook = unet.register_forward_pre_hook(lambda _unet, inputs: rows.append(len(inputs[0])))
    yield rows
    hook.remove()


@pytest.mark.parametrize(
    "scheduler", [name for name in SCHEDULER_NAMES if name not in ("heun", "dpm2", "dpm2_ancestral")]
)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_two_experts_take_every_timestep_once(scheduler: str, share: float) -> None:
    request = words(scheduler=scheduler, denoising_end=share, num_inference_steps=20)
    config = configs()["base"]
    first = make_first_path(request, config).timesteps
    second = make_second_path(request, config).timesteps
    assert torch.equal(torch.cat([first, second]), make_scheduler(request, config).timesteps)
    assert (first >= round((1 - share) * 1000)).all()
    assert (second < round((1 - share) * 1000)).all()


@pytest.mark.parametrize("scheduler", ["heun", "dpm2"])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_refiner_begins_with_a_whole_step_of_two_calls(scheduler: str, share: float) -> None:
    request = words(scheduler=scheduler, denoising_end=share, num_inference_steps=20)
    config = configs()["base"]
    first = make_first_path(request, config).timesteps
    second = make_second_path(request, config).timesteps
    whole = make_scheduler(request, config).timesteps
    assert len(second) % 2 == 1  # whole steps of two calls, and the last one of one
    assert 0 <= len(first) + len(second) - len(whole) <= 1


@pytest.mark.parametrize("scheduler", ["euler", "ddim", "heun"])
def test_a_run_never_shares_its_scheduler(scheduler: str) -> None:
    one, two = (prepare_run(words(scheduler=scheduler, num_inference_steps=2)) for _ in range(2))
    assert one.segments[0].scheduler is not two.segments[0].scheduler
    with torch.inference_mode():
        one.advance()
    assert getattr(two.segments[0].scheduler, "step_index", None) is None


def test_the_whole_schedule_leaves_nothing_to_the_refiner() -> None:
    assert plan_steps(words(num_inference_steps=20), configs()) == {"base": 20}


def sampling_choices() -> Iterator[dict[str, str]]:
    for scheduler, options in SCHEDULER_OPTIONS.items():
        yield {"scheduler": scheduler}
        if scheduler.startswith("dpm2"):  # slow to make, and alike
            continue
        if options.timestep_spacing:
            yield from ({"scheduler": scheduler, "timestep_spacing": name} for name in ("trailing", "linspace"))
        if options.sigmas:
            yield {"scheduler": scheduler, "sigmas": "karras"}
        if options.align_your_steps:
            yield {"scheduler": scheduler, "timesteps": "align_your_steps"}


@pytest.mark.parametrize("sampling", list(sampling_choices()), ids=lambda choice: "-".join(choice.values()))
def test_steps_told_before_a_run_are_those_it_takes(files: dict[str, Path], sampling: dict[str, str]) -> None:
    values: dict[str, Any] = {"num_inference_steps": 9, **sampling}
    for request in (
        ask(TextToImageRequest, files, **values, denoising_end=0.75),
        ask(ImageToImageRequest, files, **values, strength=0.7, denoising_end=0.6),
        ask(RefineRequest, files, **values, strength=0.5),
    ):
        assert prepare_run(request).steps == plan_steps(request, configs())


def test_steps_taken_are_those_told(files: dict[str, Path]) -> None:
    request = ask(InpaintRequest, files, num_inference_steps=5, denoising_end=0.6, scheduler="heun")
    run = prepare_run(request)
    experts = []
    with torch.inference_mode():
        while not run.is_done:
            experts.append(run.advance())
    told = plan_steps(request, configs())
    assert experts == ["base"] * told["base"] + ["refiner"] * told["refiner"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"denoising_end": 0.01}, "denoising_end must leave the base at least one step, got 0.01"),
        ({"denoising_end": 0.999}, "denoising_end must leave the refiner at least one step, got 0.999"),
        ({"denoising_end": 0.4, "strength": 0.5}, "denoising_end must leave the base at least one step, got 0.4"),
    ],
)
def test_a_share_that_leaves_an_expert_nothing_is_refused(
    files: dict[str, Path], values: dict[str, Any], message: str
) -> None:
    request = ask(ImageToImageRequest, files, **{"num_inference_steps": 10, "strength": 1.0, **values})
    with pytest.raises(InvalidRequest, match=message):
        prepare_run(request)
    with pytest.raises(InvalidRequest, match=message):
        plan_steps(request, configs())


@pytest.mark.parametrize("request_class", [TextToImageRequest, ImageToImageRequest])
def test_an_inpainting_model_is_refused_where_there_is_no_mask(
    files: dict[str, Path], request_class: type[GenerationRequest]
) -> None:
    with pytest.raises(InvalidRequest, match="model must be another one: Studio demo only redraws what a mask covers"):
        TASKS[request_class.task].admit(ask(request_class, files), select("inpainting"))


@pytest.mark.parametrize("request_class", [TextToImageRequest, ImageToImageRequest, InpaintRequest])
def test_a_refiner_is_refused_where_it_would_begin(
    files: dict[str, Path], request_class: type[GenerationRequest]
) -> None:
    with pytest.raises(InvalidRequest, match="model must be another one: Studio demo only refines pictures"):
        TASKS[request_class.task].admit(ask(request_class, files), select("refiner"))


@pytest.mark.parametrize("request_class", [TextToImageRequest, ImageToImageRequest, InpaintRequest])
def test_two_experts_are_refused_for_a_model_that_has_one(
    files: dict[str, Path], request_class: type[GenerationRequest]
) -> None:
    with pytest.raises(InvalidRequest, match=r"denoising_end must be 1, because Studio demo has no refiner, got 0\.8"):
        TASKS[request_class.task].admit(ask(request_class, files, denoising_end=0.8), select(refiner=False))


def test_refining_is_refused_for_a_model_without_a_refiner(files: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="Studio demo has no refiner"):
        TASKS["refine"].admit(ask(RefineRequest, files), select(refiner=False))


def test_offset_noise_shifts_each_channel_of_each_picture_as_a_whole() -> None:
    expert = load_demo_experts()["base"]
    plain = make_noise(make_generators((3, 4)), (64, 96), expert)
    shifted = make_noise(make_generators((3, 4)), (64, 96), expert, 0.5)
    shift = shifted - plain
    assert shift.std(dim=(2, 3)).max() < 1e-6
    assert len(shift.mean(dim=(2, 3)).flatten().unique()) == 8
    alone = make_noise(make_generators((4,)), (64, 96), expert, 0.5)
    assert torch.equal(alone[0], shifted[1])


def test_no_offset_draws_as_many_numbers_as_before() -> None:
    expert = load_demo_experts()["base"]
    generators, others = make_generators((3,)), make_generators((3,))
    assert torch.equal(make_noise(generators, (64, 64), expert), make_noise(others, (64, 64), expert, 0.0))
    assert torch.equal(generators[0].get_state(), others[0].get_state())


@pytest.mark.parametrize("request_class", [TextToImageRequest, ImageToImageRequest, InpaintRequest, RefineRequest])
def test_offset_noise_reaches_every_task(files: dict[str, Path], request_class: type[GenerationRequest]) -> None:
    values = {"num_inference_steps": 2, **({"strength": 0.5} if request_class is not TextToImageRequest else {})}
    runs = [prepare_run(ask(request_class, files, **values, offset_noise=offset)) for offset in (0.0, 0.3)]
    assert (runs[1].latents - runs[0].latents).std(dim=(2, 3)).max() < 1e-5
    assert not torch.equal(runs[1].latents, runs[0].latents)


def test_a_picture_of_a_batch_is_the_picture_of_its_seed_alone(files: dict[str, Path]) -> None:
    values = {"num_inference_steps": 2, "strength": 0.8, "scheduler": "euler_ancestral", "offset_noise": 0.1}
    both = prepare_run(ask(InpaintRequest, files, **values, num_images_per_prompt=2), load_inpainting_experts())
    alone = prepare_run(ask(InpaintRequest, files, **values, seed=SMALL["seed"] + 1), load_inpainting_experts())
    with torch.inference_mode():
        for run in (both, alone):
            while not run.is_done:
                run.advance()
    assert (both.latents[1] - alone.latents[0]).abs().max() < 1e-4


def test_guidance_costs_its_rows_only_where_it_acts() -> None:
    request = words(num_inference_steps=5, guidance_start=0.2, guidance_end=0.6, num_images_per_prompt=2)
    experts = load_demo_experts()
    with counted_rows(experts["base"].unet) as rows:
        draw(request)
    assert rows == [2, 4, 4, 2, 2]


def test_the_interval_of_guidance_lies_in_the_steps_of_both_experts() -> None:
    request = words(num_inference_steps=5, guidance_end=0.8, denoising_end=0.6)
    experts = load_demo_experts()
    with counted_rows(experts["base"].unet) as base_rows, counted_rows(experts["refiner"].unet) as refiner_rows:
        draw(request)
    assert (base_rows, refiner_rows) == ([2, 2, 2], [2, 1])


def test_an_inpainting_model_can_leave_guidance_out_of_some_steps(files: dict[str, Path]) -> None:
    experts = load_inpainting_experts()
    with counted_rows(experts["base"].unet) as rows:
        draw(ask(InpaintRequest, files, num_inference_steps=2, guidance_end=0.5), experts, "inpainting")
    assert rows == [2, 1]


def test_latents_that_were_lost_are_told_by_their_stage() -> None:
    run = prepare_run(words(num_inference_steps=1))
    run.latents = torch.full_like(run.latents, torch.inf)
    with pytest.raises(NumericalError) as raised:
        run.finish()
    assert raised.value.stage == "latents"


@torch.inference_mode()
def test_pixels_that_were_lost_are_told_by_their_stage() -> None:
    vae = load_demo_experts()["base"].vae
    with pytest.raises(NumericalError) as raised:
        decode_picture(vae, torch.full((1, 4, 8, 8), torch.nan), torch.float32)
    assert raised.value.stage == "pixels"


@torch.inference_mode()
def test_a_preview_shows_the_colours_of_the_picture(files: dict[str, Path]) -> None:
    latent_rgb = load_catalogue().checkpoints["demo"].latent_rgb
    assert latent_rgb is not None
    image = Image.open(files["image"])
    latents = encode_pixels(load_demo_experts()["base"], make_pixels(image), make_generators((0,)))
    drawn = LatentPreview.from_file(Path(latent_rgb)).draw(latents[0])
    small = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float)
    assert drawn.shape == (8, 8, 3)
    assert np.abs(drawn - small).mean() < 20


def show(run: Run) -> torch.Tensor:
    """Takes a step and gives the picture that it was heading for."""
    run.take(predict([run.ask()])[0], wants_picture=True)
    assert run.predicted is not None
    return run.predicted


@torch.inference_mode()
@pytest.mark.parametrize("scheduler", ["euler", "ddim", "dpmpp_2m", "heun"])
def test_what_a_run_is_heading_for_looks_like_what_it_becomes(scheduler: str) -> None:
    run = prepare_run(words(num_inference_steps=8, scheduler=scheduler, width=128, height=128))
    noisy = run.latents
    while run.index < 0.8 * run.total:
        heading_for = show(run)
    while not run.is_done:
        run.advance()
    assert (heading_for - run.latents).abs().mean() < 0.3 * (noisy - run.latents).abs().mean()


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULER_NAMES if name != "dpm2_ancestral"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_the_picture_itself(scheduler: str, prediction_type: str) -> None:
    made = make_scheduler(words(scheduler=scheduler), {**configs()["base"], "prediction_type": prediction_type})
    timestep = begin_at(made, 8)[0]
    picture, noise = torch.randn(2, 1, 4, 8, 8)
    latents = made.add_noise(picture, noise, timestep.reshape(1))
    scaled = made.scale_model_input(latents, timestep)
    alpha, sigma = noise_level(made, timestep)
    prediction = noise if prediction_type == "epsilon" else (alpha * scaled - picture) / sigma
    found = predict_picture(made, prediction, (alpha, sigma), latents)
    assert torch.allclose(found, picture, atol=1e-4)


@torch.inference_mode()
def test_a_small_decoder_draws_previews_no_larger_than_they_are_seen() -> None:
    decoder = AutoencoderTiny(decoder_block_out_channels=(8,) * 4, encoder_block_out_channels=(8,) * 4)
    preview = TinyPreview(decoder, torch.device("cpu"), torch.float32)
    drawn = preview.draw(torch.randn(4, 6, 10))
    assert (drawn.shape, drawn.dtype) == ((48, 80, 3), np.uint8)
    assert preview.draw(torch.randn(4, 8, 100)).shape == (32, 400, 3)
    assert max(preview.draw(torch.full((4, 8, 100), torch.nan)).shape) <= PREVIEW_SIDE


@torch.inference_mode()
def test_no_step_of_an_inpainting_run_asks_the_scheduler_for_noise(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would send a table to the device each time."""
    asked: list[int] = []
    real = EulerDiscreteScheduler.add_noise
    monkeypatch.setattr(EulerDiscreteScheduler, "add_noise", lambda *args: (asked.append(1), real(*args))[1])
    run = prepare_run(ask(InpaintRequest, files, num_inference_steps=6, denoising_end=0.5))
    steps = []
    while not run.is_done:
        before = len(asked)
        expert = run.advance()
        steps.append((expert, len(asked) - before))
    assert steps == [("base", 0), ("base", 4), *[("refiner", 0)] * 4]


@torch.inference_mode()
def test_previews_are_drawn_now_and_then_and_not_of_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run = prepare_run(words(num_inference_steps=4))
    reporter = StepReporter(run, LatentPreview(torch.rand(4, 3), torch.rand(3)))
    due, shown = [], []
    for after in (0.0, 0.9 * PREVIEW_SECONDS, 0.2 * PREVIEW_SECONDS, 2 * PREVIEW_SECONDS):
        now += after
        due.append(reporter.is_preview_due())
        step = reporter.report(run.take(predict([run.ask()])[0], wants_picture=due[-1]))
        shown.append(step.preview is not None)
        assert (run.predicted is not None) == shown[-1]
    assert due == shown == [True, False, True, False]


@torch.inference_mode()
def test_an_inpainting_run_shows_where_it_is_heading(files: dict[str, Path]) -> None:
    run = prepare_run(ask(InpaintRequest, files, num_inference_steps=2), load_inpainting_experts(), "inpainting")
    assert show(run).shape == (1, 4, 8, 8)
    run.advance()
    assert run.predicted is None
