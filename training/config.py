"""Every figure and every switch of the recipe, named, in one place."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

CONTEXT_LENGTH = 77
LATENT_FACTOR = 8
LATENT_CHANNELS = 4
TIME_ID_DIM = 32
PROJECTION_DIM = 128


@dataclass
class DataConfig:
    """Sources of the pictures and how they are split."""

    sprites: str = "@lobehub/fluent-emoji-3d@1.1.0"
    names: str = "unicode-emoji-json@0.9.0"
    held_out_percent: int = 12
    held_out_colours_percent: int = 8
    seed: int = 7


@dataclass
class VaeConfig:
    """KL autoencoder, f = 8 (SDXL, arXiv:2307.01952, section 2.4; LDM, arXiv:2112.10752, section 3.1)."""

    minutes: float = 12.5
    decoder_minutes: float = 35.0
    decoder_pictures: int = 4000
    decoder_styled: float = 0.4
    learning_rate: float = 1e-3
    pictures: int = 1500
    channels: tuple[int, ...] = (16, 16, 48, 96)
    kl_weight: float = 1e-3
    gradient_weight: float = 0.7
    coarse_weight: float = 0.7
    latent_noise: float = 0.05
    ema_decay: float = 0.998
    analytic_start: bool = True
    seed: int = 0


@dataclass
class TinyConfig:
    """The small autoencoder for drafts (TAESD, github.com/madebyollin/taesd)."""

    minutes: float = 8.0
    learning_rate: float = 1e-3
    pictures: int = 1500
    channels: tuple[int, ...] = (16, 16, 16, 16)
    blocks: tuple[int, ...] = (3, 2, 1)
    seed: int = 2


@dataclass
class DiffusionConfig:
    """What base and refiner share: noise-prediction training with every part of SDXL's recipe as a switch."""

    minutes: float
    samples: int
    learning_rate: float
    channels: tuple[int, ...]
    max_timestep: int = 1000
    batch_size: int = 16
    warmup_samples: int = 3200
    decay_from: float = 0.6
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    min_snr_gamma: float = 5.0
    offset_noise: float = 0.05
    ema_decay: float = 0.999
    drop_to_zeros: float = 0.07
    drop_to_empty: float = 0.03
    foreign_captions: float = 0.0
    captions_per_picture: int = 6
    sheet_samples: int = 10_000
    save_minutes: float = 4.0
    seed: int = 1


@dataclass(frozen=True)
class Phase:
    """A stretch of the base's training, `samples` long: a mix of layouts at half or full size."""

    samples: int
    mix: str
    half_size: bool
    batch_size: int
    bucket_share: float = 0.0


@dataclass
class BaseConfig(DiffusionConfig):
    """The base UNet with its text encoders, trained in phases: half size, full size, then every bucket.

    The defaults are about five hours of two CPU cores. On a GPU: `batch_scale=16`, `length=8`, `uses_per_picture=20`.
    """

    minutes: float = 1e6
    learning_rate: float = 9e-4
    channels: tuple[int, ...] = (48, 96, 192)
    save_minutes: float = 3.0
    captions_per_picture: int = 3
    decay_from: float = 0.75
    ema_decay: float = 0.998
    hidden_1: int = 80
    hidden_2: int = 112
    text_layers: int = 3
    start_from: str = ""
    phases: tuple[Phase, ...] = (
        Phase(160_000, "shapes", half_size=True, batch_size=32),
        Phase(50_000, "words", half_size=True, batch_size=32),
        Phase(55_000, "words", half_size=False, batch_size=32),
        Phase(80_000, "wide", half_size=False, batch_size=32, bucket_share=0.3),
        Phase(40_000, "last", half_size=False, batch_size=32, bucket_share=0.15),
    )
    length: float = 1.0
    samples: int = 385_000
    pictures: int = 16_384
    uses_per_picture: int = 8
    batch_scale: int = 1

    def scaled(self) -> BaseConfig:
        """Return the same run, `length` times as long and in batches `batch_scale` times as large."""
        phases = tuple(
            dataclasses.replace(
                phase,
                samples=round(self.length * phase.samples),
                batch_size=self.batch_scale * phase.batch_size,
            )
            for phase in self.phases
        )
        samples = sum(phase.samples for phase in phases)
        sheet_samples = self.sheet_samples * self.batch_scale
        return dataclasses.replace(
            self, phases=phases, samples=samples, sheet_samples=sheet_samples, length=1.0, batch_scale=1
        )


@dataclass
class RefinerConfig(DiffusionConfig):
    """The refiner: same VAE and second text encoder, low noise only, aesthetic score in place of the target size."""

    minutes: float = 1e6
    samples: int = 165_000
    learning_rate: float = 9e-4
    channels: tuple[int, ...] = (48, 96, 128)
    max_timestep: int = 200
    batch_size: int = 32
    warmup_samples: int = 1600
    decay_from: float = 0.5
    offset_noise: float = 0.0
    drop_to_zeros: float = 0.0
    drop_to_empty: float = 0.1
    foreign_captions: float = 0.6
    pictures: int = 6000
    blurred_share: float = 0.35


@dataclass
class JudgeConfig:
    """The classifier that names the subject of a picture from its grey-scale edges."""

    pictures: int = 30_000
    epochs: int = 10
    learning_rate: float = 3e-3
    batch: int = 64
    side: int = 64
    seed: int = 3


@dataclass
class EvaluateConfig:
    """How the finished model is measured."""

    prompts: int = 200
    prompts_of_a_word: int = 70
    seeds: int = 3
    pictures_of_an_ability: int = 40
    pictures_of_a_series: int = 16
    num_inference_steps: int = 20
    guidance_scale: float = 5.0
    seed: int = 11


@dataclass
class Config:
    """The whole recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    base: BaseConfig = field(default_factory=BaseConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def override(self, assignment: str) -> None:
        """Set one figure from text such as `base.minutes=60` or `vae.analytic_start=false`.

        Raises:
            ValueError: the text is not `section.field=value` or names no known field.
        """
        name, separator, value = assignment.partition("=")
        section_name, dot, field_name = name.partition(".")
        section = getattr(self, section_name, None)
        if not (separator and dot) or not dataclasses.is_dataclass(section) or not hasattr(section, field_name):
            raise ValueError(f"expected section.field=value with a known field, got {assignment!r}")
        old = getattr(section, field_name)
        try:
            new = type(old)(json.loads(value)) if not isinstance(old, str) else value
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be a {type(old).__name__}, got {value!r}") from error
        setattr(section, field_name, new)
