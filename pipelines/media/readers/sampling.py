"""Other programs' samplers and schedules as our scheduler, spacing, sigmas and timesteps.

A1111 and ComfyUI write the same k-diffusion samplers in two ways: "DPM++ 2M" and "dpmpp_2m". Where the steps lie is the
spacing of diffusers that gives the same sigmas: k-diffusion's uniform steps are linspace, SGM's leave the last one out
as trailing does, those of DDIM are leading.
"""

from dataclasses import dataclass

from pipelines.schema.schedulers import (
    SCHEDULER_OPTIONS,
    SCHEDULER_TITLES,
    SchedulerName,
    SigmasName,
    SpacingName,
    TimestepsName,
)

SAMPLERS: dict[str, SchedulerName] = {
    **{title.casefold().replace("++", "pp"): name for name, title in SCHEDULER_TITLES.items()},  # type: ignore[dict-item]
    "euler ancestral": "euler_ancestral",
    "pndm": "pndm",
    "dpm 2": "dpm2",
    "dpm 2 ancestral": "dpm2_ancestral",
    "uni pc": "unipc",
    "uni pc bh2": "unipc",
}
"""By name in small letters, "++" as "pp" and "_" as a space."""


@dataclass(frozen=True)
class Schedule:
    """Where the steps lie, and how noise falls on the way."""

    spacing: SpacingName = "default"
    sigmas: SigmasName = "default"
    timesteps: TimestepsName = "default"


OWN = Schedule()
"""The scheduler's own; also what belongs to a distilled sampler alone."""
UNIFORM = Schedule("linspace")
DDIM = Schedule("leading")
KARRAS = Schedule("linspace", "karras")
EXPONENTIAL = Schedule("linspace", "exponential")

SCHEDULES: dict[str, Schedule] = {
    "karras": KARRAS,
    "exponential": EXPONENTIAL,
    "beta": Schedule("linspace", "beta"),
    "align your steps": Schedule(timesteps="align_your_steps"),
    "ays": Schedule(timesteps="align_your_steps"),
    "ays sdxl": Schedule(timesteps="align_your_steps"),
    "uniform": UNIFORM,
    "normal": UNIFORM,
    "sgm uniform": Schedule("trailing"),
    "simple": Schedule("trailing"),
    "turbo": Schedule("trailing"),
    "ddim": DDIM,
    "ddim uniform": DDIM,
    "lcm": OWN,
    "tcd": OWN,
}
SUFFIXES = {" karras": "karras", " exponential": "exponential"}
"""How A1111 named a schedule before version 1.9: behind the sampler."""
WANTED: dict[SchedulerName, Schedule] = {
    "dpmpp_2m": KARRAS,
    "dpmpp_sde": KARRAS,
    "dpm2": KARRAS,
    "dpm2_ancestral": KARRAS,
    "dpmpp_2m_sde": EXPONENTIAL,
    "ddim": DDIM,
    "pndm": DDIM,
    "unipc": DDIM,
}
"""What A1111's "Automatic" is for a sampler, where it is not uniform."""


@dataclass(frozen=True)
class Sampling:
    """A scheduler with its schedule, as far as it obeys one."""

    values: dict[str, str]
    """All four fields of the request."""
    obeyed: bool
    """Whether the schedule that was asked for is among them."""


def find_sampling(sampler: str, schedule: str) -> Sampling | None:
    """Our names for a sampler and a schedule; `None` for a sampler that has none here.

    An empty schedule is what A1111 meant by leaving it out, "Automatic" what the sampler wants there. Sigmas of another
    kind span all of the trained ones there, as linspace makes them do here.
    """
    name = _normal(sampler)
    for suffix, word in SUFFIXES.items():
        if name.endswith(suffix):
            name, schedule = name.removesuffix(suffix), schedule or word
    scheduler = SAMPLERS.get(name)
    if scheduler is None:
        return None
    wanted = _normal(schedule)
    if wanted in ("", "automatic"):
        family = WANTED.get(scheduler, UNIFORM)
        chosen = family if wanted or family is DDIM else UNIFORM
        return Sampling(_fit(scheduler, chosen), True)
    chosen = SCHEDULES.get(wanted)
    values = _fit(scheduler, chosen or OWN)
    return Sampling(values, chosen is not None and _is_there(chosen, values))


def _fit(scheduler: SchedulerName, schedule: Schedule) -> dict[str, str]:
    """The schedule without what the scheduler does not know."""
    options = SCHEDULER_OPTIONS[scheduler]
    sigmas = schedule.sigmas if options.sigmas else "default"
    timesteps = schedule.timesteps if options.align_your_steps else "default"
    has_room = options.timestep_spacing and timesteps == "default"
    if schedule.sigmas != "default":
        has_room = has_room and sigmas != "default" and options.spacing_beside_sigmas
    spacing = schedule.spacing if has_room else "default"
    return {"scheduler": scheduler, "timestep_spacing": spacing, "sigmas": sigmas, "timesteps": timesteps}


def _is_there(schedule: Schedule, values: dict[str, str]) -> bool:
    """Whether the values say all of what the schedule is: its sigmas, its timesteps, or else its spacing."""
    if schedule.sigmas != "default":
        return values["sigmas"] == schedule.sigmas
    if schedule.timesteps != "default":
        return values["timesteps"] == schedule.timesteps
    return values["timestep_spacing"] == schedule.spacing


def _normal(name: str) -> str:
    words = " ".join(name.casefold().replace("++", "pp").replace("_", " ").split())
    return words.removeprefix("sample ").removesuffix(" gpu")
