"""Pictures on their way to the disk beside the device's thread, and the end of the job that they belong to."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pipelines.album import Ending, Page
from pipelines.job import Job
from pipelines.line import Turn
from pipelines.media.metadata import hash_pictures
from pipelines.media.save import Caption, save_pictures
from pipelines.prompts.drawing import final_texts
from pipelines.prompts.styles import Style
from pipelines.schema.errors import Cancelled, PipelineError, RunError
from pipelines.schema.events import Done, Failed
from pipelines.schema.requests import GenerationRequest
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)

THREADS = 2


@dataclass(frozen=True)
class Drawn:
    """One draw's pictures as they leave the device."""

    pictures: list[Image.Image]
    steps: dict[str, int]
    """Steps that each expert took."""
    dtype: str
    """The precision they took them in."""


class Saver:
    """Finishes and writes pictures, draw by draw, while the device goes on; then says how their job has ended."""

    def __init__(self, folder: Path, styles: dict[str, Style]) -> None:
        self.folder = folder
        self.styles = styles
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="saver")

    def save(self, turn: Turn, drawn: Drawn) -> None:
        """Hands over the pictures of the turn's draw at hand; they are let go of when they are written."""
        turn.album.open()
        try:
            self._threads.submit(self._write, turn, turn.number, drawn)
        except RuntimeError:  # no thread could be started, and nobody else would end the job
            self._write(turn, turn.number, drawn)

    def end(self, turn: Turn, ending: Ending) -> None:
        """Ends a job that has left the device, as soon as the pictures that were handed over are written."""
        if turn.album.close(ending):
            _tell(turn)

    def close(self) -> None:
        """Waits until everything is written."""
        self._threads.shutdown()

    def _write(self, turn: Turn, number: int, drawn: Drawn) -> None:
        job, album = turn.job, turn.album
        try:
            is_last = album.write(number, self._make_page(turn, number, drawn))
        except PipelineError as error:
            is_last = album.fail(without_frames(job, error))
        except Exception as error:
            log.exception("job %s failed", job.id)
            is_last = album.fail(RunError(f"the pictures could not be saved ({type(error).__name__}); try again"))
        if is_last:
            _tell(turn)

    def _make_page(self, turn: Turn, number: int, drawn: Drawn) -> Page:
        drawing, album = turn.drawings[number], turn.album
        request, finish = drawing.draw.request, TASKS[turn.job.request.task].finish
        if album.hashes is None:  # once, because an upload may be swept away while the job goes on
            album.hashes = hash_pictures(request)
        caption = Caption(
            model=drawing.selection.model.name,
            texts=final_texts(request, self.styles),
            template=drawing.draw.template,
            hashes=album.hashes,
            dtype=drawn.dtype,
        )
        requests = alone(request)
        finished = (finish(turn.inputs, picture) for picture in drawn.pictures)
        return Page(save_pictures(finished, requests, caption, self.folder), requests, drawn.steps)


def alone(request: GenerationRequest) -> tuple[GenerationRequest, ...]:
    """For each picture of a request the one that draws it alone."""
    return tuple(request.model_copy(update={"seed": seed, "num_images_per_prompt": 1}) for seed in request.seeds)


def without_frames(job: Job, error: PipelineError) -> PipelineError:
    """The error that a job ends with: it has let go of the frames, and so the tensors, it came from."""
    if error.__cause__ is not None:
        log.warning("job %s: %s (%r)", job.id, error, error.__cause__)
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _tell(turn: Turn) -> None:
    """The last event of a job, with the pictures that were finished."""
    job, error = turn.job, turn.album.error
    result = turn.album.result(job.request)
    if isinstance(error, Cancelled):
        job.stop(result)
    elif error is not None:
        job.post(Failed(error, result))
    elif result is not None:
        job.post(Done(result))
