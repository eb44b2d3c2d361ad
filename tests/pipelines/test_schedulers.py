"""Every scheduler with every option it knows, and what each name promises."""

import inspect
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers.schedulers import AysSchedules

from pipelines.diffusion.guidance import to_picture
from pipelines.diffusion.latents import decode_picture
from pipelines.diffusion.schedulers import (
    SCHEDULERS,
    add_noise,
    align_your_steps,
    begin_at,
    begin_with_strength,
    make_overrides,
    make_scheduler,
    noise_level,
    noise_levels,
    step_options,
)
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.paths import PROJECT
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.schedulers import (
    MAX_ALIGNED_STEPS,
    SCHEDULER_NAMES,
    SCHEDULER_OPTIONS,
    SCHEDULER_TITLES,
    SchedulerName,
    upgrade_sampling,
)
from tests.pipelines.demo_experts import load_demo_experts, prepare_run

SPACINGS = ("leading", "trailing", "linspace")
SIGMAS = ("karras", "exponential", "beta")

each_scheduler = pytest.mark.parametrize("name", SCHEDULER_NAMES)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return load_demo_experts()["base"].scheduler_config


def ask(**values: Any) -> TextToImageRequest:
    return make_request(TextToImageRequest, {"num_inference_steps": 4, **values})


def list_allowed(name: str) -> list[dict[str, str]]:
    """The samplings that a request with this scheduler accepts."""
    allowed = []
    for timestep_spacing in ("default", *SPACINGS):
        for sigmas in ("default", *SIGMAS):
            for timesteps in ("default", "align_your_steps"):
                values = {
                    "scheduler": name,
                    "timestep_spacing": timestep_spacing,
                    "sigmas": sigmas,
                    "timesteps": timesteps,
                }
                try:
                    ask(**values)
                except InvalidRequest:
                    continue
                allowed.append(values)
    return allowed


def list_places(config: dict[str, Any], name: str, **options: Any) -> tuple[tuple[float, ...], ...]:
    """Where diffusers' own class puts four steps with these options: its timesteps and its sigmas."""
    scheduler_class, overrides = SCHEDULERS[name]
    scheduler = scheduler_class.from_config(config, **{**overrides, **options})
    scheduler.set_timesteps(4)
    return tuple(scheduler.timesteps.tolist()), tuple(getattr(scheduler, "sigmas", torch.empty(0)).tolist())


def test_every_name_has_a_class_a_title_and_options() -> None:
    assert set(SCHEDULERS) == set(SCHEDULER_NAMES) == set(SCHEDULER_TITLES) == set(SCHEDULER_OPTIONS)
    assert len(set(SCHEDULER_TITLES.values())) == len(SCHEDULER_NAMES)


@each_scheduler
def test_the_options_of_a_scheduler_are_those_that_move_its_steps_in_diffusers(
    name: str, config: dict[str, Any]
) -> None:
    options = SCHEDULER_OPTIONS[name]
    spaced = {list_places(config, name, timestep_spacing=spacing) for spacing in SPACINGS}
    by_sigmas = {list_places(config, name, **{f"use_{sigmas}_sigmas": True}) for sigmas in SIGMAS}
    both = {list_places(config, name, use_karras_sigmas=True, timestep_spacing=spacing) for spacing in SPACINGS}
    assert len(spaced) == (3 if options.timestep_spacing else 1)
    assert len(by_sigmas) == (3 if options.sigmas else 1)
    assert (len(both) > 1) == (options.spacing_beside_sigmas or (not options.sigmas and options.timestep_spacing))


@each_scheduler
def test_only_schedulers_that_take_steps_from_outside_align_them(name: str) -> None:
    options = SCHEDULER_OPTIONS[name]
    takes_steps = "timesteps" in inspect.signature(SCHEDULERS[name][0].set_timesteps).parameters
    assert options.align_your_steps == (takes_steps and options.max_steps is None)  # a distilled model knows its own


@each_scheduler
def test_a_scheduler_takes_as_many_steps_as_its_options_say(name: str, config: dict[str, Any]) -> None:
    most = SCHEDULER_OPTIONS[name].max_steps
    scheduler = make_scheduler(ask(scheduler=name, num_inference_steps=most or 150), config)
    assert len(scheduler.timesteps) >= (most or 150)
    if most is not None:
        with pytest.raises(ValueError, match="original_steps"):
            scheduler.set_timesteps(most + 1)
        with pytest.raises(InvalidRequest, match=f"num_inference_steps must be at most {most} with {name}, got"):
            ask(scheduler=name, num_inference_steps=most + 1)


@each_scheduler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_what_is_noised_in_every_step_is_noised_as_the_scheduler_does_it(
    name: str, dtype: torch.dtype, config: dict[str, Any]
) -> None:
    request = ask(scheduler=name, num_inference_steps=7)
    scheduler = make_scheduler(request, config)
    timesteps = begin_with_strength(scheduler, 0.7)
    generators = [torch.Generator().manual_seed(k) for k in range(2)]
    picture, noise, latents = torch.randn(3, 2, 4, 3, 3, generator=generators[0]).to(dtype)
    levels = noise_levels(scheduler, timesteps, dtype)
    assert len(levels) == len(timesteps)
    for step, timestep in enumerate(timesteps):
        alpha, sigma = levels[step]
        expected = add_noise(scheduler, picture, noise, timestep.reshape(1))
        assert torch.equal(alpha * picture + sigma * noise, expected), step
        scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(noise, timestep, latents, **step_options(scheduler, generators)).prev_sample


@each_scheduler
@torch.inference_mode()
def test_four_steps_with_every_option_end_in_a_finite_picture(name: str) -> None:
    for values in list_allowed(name):
        if values["timestep_spacing"] not in ("default", "trailing") and values["sigmas"] != "default":
            continue  # one spacing beside other sigmas is enough: making a DPM2 scheduler takes longer than its steps
        run = prepare_run(ask(**values, prompt="a fox", seed=1, width=64, height=64))
        while not run.is_done:
            run.advance()
        expert = run.segments[0].expert
        pixels = decode_picture(expert.vae, run.finish(), expert.vae_dtype)  # raises for NaN
        extrema = pixels.convert("L").getextrema()
        assert extrema[0] != extrema[1], values


def test_samplings_are_as_many_as_the_table_says() -> None:
    counts = {name: len(list_allowed(name)) for name in SCHEDULER_NAMES}
    assert counts == {
        "euler": 17,
        "euler_ancestral": 4,
        "heun": 17,
        "ddim": 4,
        "pndm": 4,
        "lms": 16,
        "dpmpp_2m": 8,
        "dpmpp_2m_sde": 8,
        "dpmpp_sde": 5,
        "dpm2": 16,
        "dpm2_ancestral": 16,
        "deis": 7,
        "unipc": 7,
        "lcm": 1,
        "tcd": 1,
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"scheduler": "ddim", "sigmas": "karras"}, "sigmas must be default with ddim, which has sigmas of its own"),
        (
            {"scheduler": "dpmpp_sde", "timestep_spacing": "trailing"},
            "timestep_spacing must be default with dpmpp_sde, which spaces its steps itself",
        ),
        (
            {"scheduler": "unipc", "sigmas": "beta", "timestep_spacing": "leading"},
            "timestep_spacing must be default with beta sigmas, which place unipc's steps",
        ),
        (
            {"scheduler": "lms", "timesteps": "align_your_steps"},
            "timesteps must be default with lms, which takes no steps from outside",
        ),
        (
            {"timesteps": "align_your_steps", "sigmas": "karras"},
            "sigmas must be default with align_your_steps, which places the steps itself",
        ),
        (
            {"timesteps": "align_your_steps", "timestep_spacing": "trailing"},
            "timestep_spacing must be default with align_your_steps, which places the steps itself",
        ),
        (
            {"timesteps": "align_your_steps", "num_inference_steps": 51},
            "num_inference_steps must be at most 50 with align_your_steps",
        ),
    ],
)
def test_what_a_scheduler_does_not_know_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        ask(**values)
    assert str(refusal.value).startswith(f"{sentence}, got ")


@pytest.mark.parametrize("steps", [61, 103, 121, 122])
def test_trailing_spacing_is_refused_where_diffusers_would_end_before_the_first_timestep(
    steps: int, config: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=f"num_inference_steps must be one more or less: .*got {steps}"):
        make_scheduler(ask(timestep_spacing="trailing", num_inference_steps=steps), config)


@each_scheduler
def test_a_run_never_shares_its_scheduler(name: str, config: dict[str, Any]) -> None:
    one, two = (make_scheduler(ask(scheduler=name), config) for _ in range(2))
    begin_with_strength(one, 0.5)
    assert one is not two
    assert getattr(two, "begin_index", None) in (None, 0)


@each_scheduler
def test_a_name_keeps_its_promise_whatever_a_checkpoint_configures(name: str, config: dict[str, Any]) -> None:
    hostile = config | {
        "clip_sample": True,
        "thresholding": True,
        "solver_order": 3,
        "solver_type": "heun",
        "algorithm_type": "dpmsolver",
        "skip_prk_steps": False,
        "set_alpha_to_one": True,
        "predict_x0": False,
        "use_karras_sigmas": True,
        "use_lu_lambdas": True,
        "use_flow_sigmas": True,
        "euler_at_final": True,
        "lower_order_final": False,
        "final_sigmas_type": "sigma_min",
        "interpolation_type": "log_linear",
        "timestep_type": "continuous",
        "original_inference_steps": 100,
        "timestep_scaling": 1.0,
    }
    assert torch.equal(walk(name, config), walk(name, hostile))


def walk(name: str, config: dict[str, Any]) -> torch.Tensor:
    """Where four steps with a made-up prediction lead."""
    scheduler = make_scheduler(ask(scheduler=name), config)
    generator = torch.Generator().manual_seed(0)
    latents = 3 * torch.randn(1, 4, 8, 8, generator=generator)
    for timestep in scheduler.timesteps:
        prediction = scheduler.scale_model_input(latents, timestep).tanh()
        latents = scheduler.step(prediction, timestep, latents, **step_options(scheduler, [generator]))[0]
    return latents


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "dpm2_ancestral", "lcm", "tcd"])
@torch.inference_mode()
def test_schedulers_that_draw_noise_draw_it_for_each_picture_alone(name: str) -> None:
    def draw(**values: Any) -> torch.Tensor:
        run = prepare_run(ask(scheduler=name, prompt="a fox", width=64, height=64, **values))
        while not run.is_done:
            run.advance()
        return run.latents

    both = draw(seed=5, num_images_per_prompt=2)
    assert torch.allclose(both[1:], draw(seed=6), atol=3e-4)
    assert not torch.allclose(both[:1], both[1:], atol=0.1)


def test_ten_aligned_steps_are_the_papers(config: dict[str, Any]) -> None:
    scheduler = make_scheduler(ask(timesteps="align_your_steps", num_inference_steps=10), config)
    assert scheduler.timesteps.tolist() == AysSchedules["StableDiffusionXLTimesteps"]
    sigmas = torch.tensor(AysSchedules["StableDiffusionXLSigmas"])
    assert torch.allclose(scheduler.sigmas, sigmas, rtol=0.03)


def test_other_numbers_of_aligned_steps_lie_between_them(config: dict[str, Any]) -> None:
    alphas_cumprod = make_scheduler(ask(), config).alphas_cumprod.numpy()
    for steps in range(1, MAX_ALIGNED_STEPS + 1):
        places = align_your_steps(alphas_cumprod, steps)
        assert len(places) == steps
        assert places[0] == 999
        assert all(one > two for one, two in pairwise(places)), steps
    assert align_your_steps(alphas_cumprod, 20)[::2] == AysSchedules["StableDiffusionXLTimesteps"]


def test_settings_from_before_sigmas_were_a_choice_are_read_as_today() -> None:
    old = {"scheduler": "dpmpp_2m_karras", "prompt": "a fox"}
    assert upgrade_sampling(old) == {"scheduler": "dpmpp_2m", "sigmas": "karras", "prompt": "a fox"}
    assert old["scheduler"] == "dpmpp_2m_karras"
    assert ask(**upgrade_sampling(old)).sigmas == "karras"
    assert upgrade_sampling({"scheduler": "euler"}) == {"scheduler": "euler"}


@each_scheduler
def test_sigmas_are_set_to_what_was_asked_for(name: str) -> None:
    for values in list_allowed(name):
        overrides = make_overrides(ask(**values))
        chosen = [sigmas for sigmas in SIGMAS if overrides.get(f"use_{sigmas}_sigmas")]
        assert chosen == ([] if values["sigmas"] == "default" else [values["sigmas"]])


@each_scheduler
@pytest.mark.parametrize("first", [0, 2])
def test_the_noise_level_is_that_of_the_latents(name: str, first: int, config: dict[str, Any]) -> None:
    scheduler = make_scheduler(ask(scheduler=name, num_inference_steps=6), config)
    timesteps = begin_at(scheduler, first * scheduler.order)
    picture, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = scheduler.add_noise(picture, noise, timesteps[:1])
    alpha, sigma = noise_level(scheduler, timesteps[0])
    scaled = scheduler.scale_model_input(latents, timesteps[0])
    assert torch.allclose(scaled, alpha * picture + sigma * noise, atol=1e-5)
    assert torch.allclose(to_picture(noise, scaled, (alpha, sigma), "epsilon"), picture, atol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["euler", "euler_ancestral", "heun", "ddim", "dpm2", "dpm2_ancestral", "lms"])
def test_the_picture_of_each_half_step_is_the_schedulers_own(name: str, kind: str, config: dict[str, Any]) -> None:
    scheduler = make_scheduler(ask(scheduler=name), config | {"prediction_type": kind})
    generator = torch.Generator().manual_seed(0)
    latents = scheduler.init_noise_sigma * torch.randn(1, 4, 8, 8, generator=generator)
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        prediction, level = scaled.tanh(), noise_level(scheduler, timestep)
        picture = to_picture(prediction, scaled, level, kind)
        stepped = scheduler.step(prediction, timestep, latents, **step_options(scheduler, [generator]))
        latents = stepped.prev_sample
        assert torch.allclose(picture, stepped.pred_original_sample, atol=1e-3, rtol=1e-3)


def test_the_documentation_shows_what_each_scheduler_knows() -> None:
    def row(name: SchedulerName) -> list[str]:
        options = SCHEDULER_OPTIONS[name]
        known = (options.timestep_spacing, options.sigmas, options.spacing_beside_sigmas, options.align_your_steps)
        return [f"`{name}`", SCHEDULER_TITLES[name], *("yes" if knows else "" for knows in known)]

    text = (PROJECT / "docs" / "sampling.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    shown = [[cell.strip() for cell in cells] for cells in rows]
    assert [cells for cells in shown if cells[0].strip("`") in SCHEDULER_NAMES] == [*map(row, SCHEDULER_NAMES)]
