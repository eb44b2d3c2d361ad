"""From Generate to the finished picture: one run of a tab, told to its stage."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.job import Job
from pipelines.schema.errors import InvalidRequest, PipelineError
from pipelines.schema.events import Done, Failed, Noticed, Step, Stopped
from ui.fields import Fields
from ui.generate import submit
from ui.i18n import language_of, load_words, say
from ui.listen import listen
from ui.owner import owner_of
from ui.progress import describe_event, say_notice, share_done, show_canvas, show_status
from ui.stage import Stage, Update

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager


def make_runner(
    manager: "PipelineManager", fields: Fields, stage: Stage
) -> Callable[..., AsyncGenerator[Update, None]]:
    """The handler of a tab's Generate: takes the last outcome and the fields' values, yields stage updates."""

    async def run(client: gr.Request, outcome: dict[str, Any] | None, *values: Any) -> AsyncGenerator[Update, None]:
        language = language_of(client)
        try:
            job = await submit(manager, fields.request_class, lambda: fields.read(values), owner_of(client))
            async with aclosing(follow(job, stage, outcome, language)) as updates:
                async for update in updates:
                    yield update
        except PipelineError as error:
            sentence = _sentence(error, language)
            yield stage.rest(sentence, "error", outcome)
            raise gr.Error(sentence, visible=False, print_exception=False) from error
        except gr.Error:  # said already, over the pictures that were finished before
            raise
        except Exception as error:  # a fault of ours must not leave Generate locked
            sentence = say("status.unexpected", language)
            yield stage.rest(sentence, "error", outcome)
            raise gr.Error(sentence, visible=False) from error

    return run


async def follow(job: Job, stage: Stage, outcome: dict[str, Any] | None, language: str) -> AsyncGenerator[Update, None]:
    """The job's events as stage updates, until its end; raises the error of a job that failed."""
    size = job.request.width or 1, job.request.height or 1
    yield stage.begin(job, say("status.next", language), size, language)
    sentence = ""
    notices: list[str] = []
    async with aclosing(listen(job)) as events:
        async for event in events:
            match event:
                case None:
                    yield {stage.facts: gr.skip()}  # so that Gradio looks whether the browser is still there
                case Failed(error=error, result=result):
                    if result is None:
                        raise error
                    wrong = _sentence(error, language)
                    yield await asyncio.to_thread(stage.finish, result, language, wrong, "error")
                    raise gr.Error(wrong, visible=False, print_exception=False) from error
                case Stopped(result=result):
                    last = sentence.split(" · ")[0]
                    if result is None:
                        yield stage.rest(say("status.stopped", language, last=last), "done", outcome)
                        continue
                    stopped = say("status.stopped_with", language, last=last, count=len(result.files))
                    yield await asyncio.to_thread(stage.finish, result, language, stopped)
                case Done(result=result):
                    yield await asyncio.to_thread(stage.finish, result, language)
                case Noticed(notice=notice):
                    notices.append(say_notice(notice, language))
                    yield {stage.status: show_status(sentence, None, notices=notices)}
                case _:
                    sentence = describe_event(event, language)
                    update: Update = {stage.status: show_status(sentence, share_done(event), notices=notices)}
                    preview = event.preview if isinstance(event, Step) else None
                    if preview:
                        update[stage.canvas] = show_canvas(preview, *size, language)
                    yield update


def _sentence(error: PipelineError, language: str) -> str:
    """The error's own words; friendlier ones where an input was simply left empty."""
    if isinstance(error, InvalidRequest) and error.value is None:
        return load_words()[language].get(f"missing.{error.field}", str(error))
    return str(error)
