"""The host's choices: what `app.py`'s flags and `SDXL_*` variables say. Fixed once the studio runs."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.schema.paths import PROJECT


class Settings(BaseModel):
    """One field for each flag of `app.py`; the descriptions are its `--help`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="a name of presets/models.json, the name of a file in the model folders, or the path of a "
        ".safetensors checkpoint or a diffusers folder (default: sdxl where an accelerator is found, else demo)",
    )
    models_dir: Path = Field(
        default=PROJECT / "models",
        description="folder with checkpoints/, loras/, vae/ and embeddings/ (default: models beside app.py)",
    )
    downloads: bool | None = Field(
        default=None,
        description="let visitors choose models that must be downloaded first (default: only without --share)",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="precision: auto, float32, float16 or bfloat16 (default: auto)"
    )
    memory: Literal["auto", "full", "model", "group", "sequential"] = Field(
        default="auto",
        description="where the model's parts wait: full (all on the device), model (one part at a time), "
        "group (blocks of the UNet), sequential (layer by layer), auto by free memory (default: auto)",
    )
    fp8: bool = Field(default=False, description="keep the UNet's weights in 8 bits, computing in the precision above")
    memory_budget: float = Field(
        default=0, ge=0, le=10_000, description="GB of models to keep loaded beside the one in use (default: 0)"
    )
    previews: Literal["fast", "sharp"] = Field(
        default="fast",
        description="how a picture under way is shown: fast (colours from the latents) or sharp (a small decoder, "
        "TAESDXL, that is downloaded once) (default: fast)",
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
