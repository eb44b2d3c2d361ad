"""What is computed once, counted: encoder calls of a repeated prompt, projections of a prompt's keys and values."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from benchmarks.figures import Figure, Promise, counted
from benchmarks.scene import Scene, base_of, make_request, new_prompt
from pipelines.components.single_file import CONFIGS
from pipelines.components.unet.model import KeepingUNet
from pipelines.components.unet.told import Rows, Share, Told

STEPS = 10
PROJECTIONS = (".attn2.to_k", ".attn2.to_v")
"""How the names of cross-attention's layers end that read the prompt."""
TRUE_SIZE_CALLS = 140


def measure(scene: Scene) -> list[Figure]:
    """Counts on the embedded model, and at true size on the meta device, which computes shapes alone."""
    return [*count_encoders(scene), count_rows(scene), *count_true_size()]


def count_encoders(scene: Scene) -> list[Figure]:
    """Calls of both text encoders for a new prompt and for the same again."""
    with scene.studio("tiny") as manager:
        base = base_of(manager)
        encoders = [encoder for encoder in (base.text_encoder, base.text_encoder_2) if encoder is not None]
        request, found = make_request(new_prompt(0), steps=2), []
        for _ in range(2):
            with count_calls(encoders) as calls:
                manager.submit(request).result(600)
            found.append(len(calls))
    return [
        counted("encoder calls, a new prompt", found[0]),
        counted("encoder calls, the same prompt again", found[1], promise=Promise("exactly", 0)),
    ]


def count_rows(scene: Scene) -> Figure:
    """How often each row's keys and values are computed in a run; stock diffusers does it in every step."""
    with scene.studio("tiny") as manager:
        layers = projections(base_of(manager).unet)
        with count_calls(layers) as calls:
            manager.submit(make_request(new_prompt(0), STEPS)).result(600)
    times = sum(calls) / (2 * len(layers))  # a negative row and a positive one
    name = f"times that keys and values of a prompt are computed in {STEPS} steps"
    return counted(name, times, promise=Promise("exactly", 1), note=f"stock: {STEPS}")


def count_true_size() -> list[Figure]:
    """Calls of SDXL's own UNet in a run's first step and in its second."""
    with torch.device("meta"), torch.inference_mode():
        config: Any = KeepingUNet.load_config(CONFIGS / "base", subfolder="unet")
        unet: Any = KeepingUNet.from_config(config)
        rows = Rows([Share(Told(torch.empty(2, 77, 2048), torch.empty(2, 1280), torch.empty(2, 6)), 0, (1, 1))])
        sample, timestep = torch.empty(2, 4, 128, 128), torch.empty(())
        found = []
        for _ in range(2):
            with count_calls(projections(unet)) as calls:
                unet(sample, timestep, rows=rows)
            found.append(len(calls))
    return [
        counted("projections in the first step, true size", found[0], promise=Promise("exactly", TRUE_SIZE_CALLS)),
        counted("projections in the next step, true size", found[1], promise=Promise("exactly", 0)),
    ]


def projections(unet: nn.Module) -> list[nn.Module]:
    """The layers that make keys and values of the prompt."""
    return [layer for name, layer in unet.named_modules() if name.endswith(PROJECTIONS)]


@contextmanager
def count_calls(layers: Sequence[nn.Module]) -> Iterator[list[int]]:
    """The rows of every call of these layers, from any thread."""
    calls: list[int] = []

    def note(_layer: nn.Module, _args: object, output: object) -> None:
        calls.append(len(output) if isinstance(output, torch.Tensor) else 1)

    remove: list[Callable[[], None]] = [layer.register_forward_hook(note).remove for layer in layers]
    try:
        yield calls
    finally:
        for each in remove:
            each()
