"""The host's choices: what `app.py`'s flags and `SDXL_*` variables say. Fixed once the studio runs."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """One field for each flag of `app.py`; the descriptions are its `--help`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="a name of presets/models.json, or a diffusers folder "
        "(default: sdxl where an accelerator is found, else demo)",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="precision: auto, float32, float16 or bfloat16 (default: auto)"
    )
    host: str = Field(
        default="127.0.0.1", description="address to listen on; 0.0.0.0 opens it to the network (default: 127.0.0.1)"
    )
    port: int = Field(default=7860, ge=0, le=65535, description="port to listen on (default: 7860)")
    share: bool = Field(default=False, description="open a public link through Gradio's relay")
    auth: str | None = Field(default=None, pattern=r"^[^:]+:.+$", description="ask for a login, as name:password")
    output_dir: Path = Field(default=Path("outputs"), description="folder for the pictures (default: outputs)")
    preload: bool = Field(default=False, description="load the model at start instead of with the first picture")
    max_queue: int = Field(
        default=32, ge=1, le=10_000, description="jobs that may wait before new ones are refused (default: 32)"
    )
    max_running: int = Field(
        default=4, ge=1, le=64, description="jobs that take turns on the device, the rest wait (default: 4)"
    )
