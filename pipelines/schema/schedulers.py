"""Names of the schedulers a request may ask for; `pipelines.diffusion.schedulers` holds their classes."""

from typing import Literal, get_args

SchedulerName = Literal["euler", "euler_ancestral", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde", "unipc"]

SCHEDULER_TITLES: dict[str, str] = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "ddim": "DDIM",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "unipc": "UniPC",
}
"""Titles as the field writes them (and as A1111's infotext names samplers)."""

SCHEDULER_NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)
