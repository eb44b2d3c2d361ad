"""Names of the schedulers, and the options each of them knows; `pipelines.diffusion.schedulers` holds their classes."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic_core import PydanticCustomError

SchedulerName = Literal[
    "euler",
    "euler_ancestral",
    "heun",
    "ddim",
    "pndm",
    "lms",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_sde",
    "dpm2",
    "dpm2_ancestral",
    "deis",
    "unipc",
    "lcm",
    "tcd",
]
SpacingName = Literal["default", "leading", "trailing", "linspace"]
SigmasName = Literal["default", "karras", "exponential", "beta"]
TimestepsName = Literal["default", "align_your_steps"]

SCHEDULER_TITLES: dict[str, str] = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "ddim": "DDIM",
    "pndm": "PLMS",
    "lms": "LMS",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "dpm2": "DPM2",
    "dpm2_ancestral": "DPM2 a",
    "deis": "DEIS",
    "unipc": "UniPC",
    "lcm": "LCM",
    "tcd": "TCD",
}
"""Titles as the field writes them (and as A1111's infotext names samplers)."""

SCHEDULE_TITLES: dict[str, str] = {
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "align_your_steps": "Align Your Steps",
}
"""Values of `sigmas` and `timesteps` as A1111's infotext names them under "Schedule type"."""

MAX_ALIGNED_STEPS = 50
"""From 60 steps on some of Align Your Steps' places would round to the same timestep."""

SCHEDULER_NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)


@dataclass(frozen=True)
class SchedulerOptions:
    """Which of the sampling fields a scheduler obeys; what it would ignore is refused."""

    timestep_spacing: bool = False
    sigmas: bool = False
    spacing_beside_sigmas: bool = False
    """Whether a spacing still matters with sigmas of another kind: it bounds them. The others span all of them."""
    align_your_steps: bool = False
    max_steps: int | None = None
    """Steps that a distilled schedule has to choose from; `None`: no limit of its own."""


_SPACING_ONLY = SchedulerOptions(timestep_spacing=True)
_MULTISTEP = SchedulerOptions(timestep_spacing=True, sigmas=True)
_KARRAS_FAMILY = SchedulerOptions(timestep_spacing=True, sigmas=True, spacing_beside_sigmas=True)
_DISTILLED = SchedulerOptions(max_steps=50)

SCHEDULER_OPTIONS: dict[SchedulerName, SchedulerOptions] = {
    "euler": SchedulerOptions(True, True, True, align_your_steps=True),
    "euler_ancestral": _SPACING_ONLY,
    "heun": SchedulerOptions(True, True, True, align_your_steps=True),
    "ddim": _SPACING_ONLY,
    "pndm": _SPACING_ONLY,
    "lms": _KARRAS_FAMILY,
    "dpmpp_2m": SchedulerOptions(True, True, align_your_steps=True),
    "dpmpp_2m_sde": SchedulerOptions(True, True, align_your_steps=True),
    "dpmpp_sde": SchedulerOptions(sigmas=True, align_your_steps=True),
    "dpm2": _KARRAS_FAMILY,
    "dpm2_ancestral": _KARRAS_FAMILY,
    "deis": _MULTISTEP,
    "unipc": _MULTISTEP,
    "lcm": _DISTILLED,
    "tcd": _DISTILLED,
}
"""As diffusers' classes have them; a test compares this table with what each option changes there."""


def check_sampling(
    scheduler: SchedulerName,
    timestep_spacing: SpacingName,
    sigmas: SigmasName,
    timesteps: TimestepsName,
    num_inference_steps: int = 1,
) -> None:
    """Raises pydantic's error, which names the field, for an option that the scheduler does not know."""
    options = SCHEDULER_OPTIONS[scheduler]
    if sigmas != "default" and not options.sigmas:
        raise _refusal("sigmas", f"must be default with {scheduler}, which has sigmas of its own")
    if timestep_spacing != "default" and not options.timestep_spacing:
        raise _refusal("timestep_spacing", f"must be default with {scheduler}, which spaces its steps itself")
    if timestep_spacing != "default" and sigmas != "default" and not options.spacing_beside_sigmas:
        raise _refusal("timestep_spacing", f"must be default with {sigmas} sigmas, which place {scheduler}'s steps")
    if timesteps != "default":
        if not options.align_your_steps:
            raise _refusal("timesteps", f"must be default with {scheduler}, which takes no steps from outside")
        if timestep_spacing != "default" or sigmas != "default":
            other = "sigmas" if sigmas != "default" else "timestep_spacing"
            raise _refusal(other, f"must be default with {timesteps}, which places the steps itself")
        if num_inference_steps > MAX_ALIGNED_STEPS:
            raise _refusal("num_inference_steps", f"must be at most {MAX_ALIGNED_STEPS} with {timesteps}")
    if options.max_steps is not None and num_inference_steps > options.max_steps:
        raise _refusal("num_inference_steps", f"must be at most {options.max_steps} with {scheduler}")


def upgrade_sampling(values: dict[str, Any]) -> dict[str, Any]:
    """Settings saved before sigmas were a choice of their own, as they are written today; others as they are."""
    if values.get("scheduler") != "dpmpp_2m_karras":
        return values
    return values | {"scheduler": "dpmpp_2m", "sigmas": "karras"}


def _refusal(field: str, rule: str) -> PydanticCustomError:
    return PydanticCustomError("unknown_to_scheduler", "{rule}", {"rule": rule, "field": field})
