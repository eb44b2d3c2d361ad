"""The one place where field values become a request, and a finished job becomes files a browser can fetch."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from pipelines.job import Job
from pipelines.schema.errors import PipelineError, RunError
from pipelines.schema.events import Result
from pipelines.schema.requests import GenerationRequest, make_request

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager


async def submit(
    manager: "PipelineManager",
    request_class: type[GenerationRequest],
    read_values: Callable[[], dict[str, Any]],
    owner: str,
) -> Job:
    """Validates what `read_values` returns and hands it to the engine; raises `PipelineError` when something is wrong.

    In a thread, because a painted mask is written and the uploaded pictures are read before a job is accepted.
    """
    return await asyncio.to_thread(lambda: manager.submit(make_request(request_class, read_values()), owner))


def as_gradio_error(error: PipelineError) -> gr.Error:
    """The sentence as a toast in the browser and as the error of an API call, without a traceback in the log."""
    return gr.Error(str(error), print_exception=False)


def publish(file: Path) -> str:
    """Copies a saved picture, byte for byte, to the one folder that Gradio serves; returns the copy's path.

    The output folder itself stays closed: a visitor reaches a picture only by the hash of its content.
    Raises `RunError`, which names no folder.
    """
    try:
        return save_file_to_cache(file, get_upload_folder())
    except OSError as error:
        reason = error.strerror or "it cannot be copied"
        raise RunError(f"{file.name} was saved but cannot be shown: {reason}") from error


def describe(result: Result) -> dict[str, Any]:
    """What the API says beside the pictures, as JSON."""
    return {
        "seeds": list(result.seeds),
        "request": request_as_json(result.request),
        "drawn": [request.prompt for request in result.drawn],
        "elapsed_seconds": round(result.elapsed_seconds, 3),
        "steps": result.steps,
        "model": result.model,
        "notices": list(result.notices),
    }


def request_as_json(request: GenerationRequest) -> dict[str, Any]:
    """The request's fields, uploads by file name only: a server's paths are nobody's business."""
    fields = request.model_dump(mode="json")
    return {name: Path(value).name if name in ("image", "mask_image") else value for name, value in fields.items()}
