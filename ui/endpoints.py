"""The named API: one endpoint for each task, its parameters the request's own fields; and what can be asked before."""

import asyncio
import inspect
import re
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from fastapi import Request
from fastapi.responses import JSONResponse
from gradio.blocks import BlockFunction
from gradio.components.api_component import Api
from gradio.context import LocalContext
from gradio.data_classes import FileData

from pipelines.job import Job
from pipelines.schema.errors import Cancelled, InvalidRequest, PictureError, PipelineError
from pipelines.schema.events import Done, Failed, Result
from pipelines.schema.requests import PROMPT_FIELDS, REQUESTS, GenerationRequest, TextToImageRequest, make_request
from ui.generate import as_gradio_error, describe, publish, submit
from ui.i18n import ENGLISH, say
from ui.listen import listen
from ui.owner import owner_of

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

FILE_FIELDS = ("image", "mask_image")
ASKED_AT_ONCE = 4
"""Questions beside the device's line, by all callers together: the longest prompts take a processor a second."""
Answer = tuple[list[dict[str, Any]], dict[str, Any]]


def bind_endpoints(manager: "PipelineManager", app: gr.Blocks) -> None:
    """Adds `/text_to_image`, `/image_to_image`, `/inpaint` and `/refine` to the app being built."""
    for task, request_class in REQUESTS.items():
        gr.api(make_endpoint(manager, request_class), api_name=task, concurrency_limit=None)
    for function in app.fns.values():
        if function.api_name in REQUESTS:
            _document(function, REQUESTS[function.api_name])


def bind_counting_api(manager: "PipelineManager", app: gr.Blocks) -> None:
    """Adds `/count_tokens` and `/styles`, which wait for no picture and need no model in memory."""
    functions = make_counter(manager), make_style_list(manager)
    for function in functions:
        gr.api(function, api_name=function.__name__, concurrency_limit=ASKED_AT_ONCE)
    for function in app.fns.values():
        if function.api_name == "count_tokens":
            describe_parameters(function, _COUNTED, ("count",))
        elif function.api_name == "styles":
            describe_parameters(function, {}, ("styles",))


def make_counter(manager: "PipelineManager") -> Callable[..., dict[str, Any]]:
    """The function behind `/count_tokens`."""

    def count_tokens(
        prompt: str,
        field: Literal["prompt", "negative_prompt", "prompt_2", "negative_prompt_2"] = "prompt",
        model: str = "",
        prompt_syntax: Literal["auto", "a1111", "compel"] = "auto",
        prompt_weighting: Literal["auto", "a1111", "compel"] = "auto",
        styles: list | None = None,
    ) -> dict[str, Any]:
        """How long a prompt is for each text encoder, where its chunks end, and what in it is not known."""
        try:
            if field not in PROMPT_FIELDS:
                raise InvalidRequest("field", f"must be one of {', '.join(PROMPT_FIELDS)}", field)
            values = {"model": model, "prompt_syntax": prompt_syntax, "prompt_weighting": prompt_weighting}
            if model and model not in manager.library.checkpoints:
                raise InvalidRequest("model", "must be the name of a model in this studio", model)
            request = make_request(TextToImageRequest, {**values, field: prompt, "styles": styles or ()})
            count = manager.count_prompt(
                getattr(request, field),
                field=field,
                model=request.model,
                syntax=request.prompt_syntax,
                weighting=request.prompt_weighting,
                styles=request.styles,
            )
        except PipelineError as error:
            raise as_gradio_error(error) from error
        return asdict(count)

    return count_tokens


def make_style_list(manager: "PipelineManager") -> Callable[[], list[dict[str, Any]]]:
    """The function behind `/styles`."""

    def styles() -> list[dict[str, Any]]:
        """The styles that a request may name: titles, group, and what each puts around the prompts."""
        return [style.model_dump(mode="json") for style in manager.styles.values()]

    return styles


def make_endpoint(
    manager: "PipelineManager", request_class: type[GenerationRequest]
) -> Callable[..., Coroutine[Any, Any, Answer]]:
    """A function whose signature and docstring are the request's, for Gradio to publish."""
    names = parameter_names(request_class)

    async def endpoint(client: gr.Request, *values: Any) -> Answer:
        def read_values() -> dict[str, Any]:
            return {name: _given(name, value) for name, value in zip(names, values, strict=True)}

        try:
            job = await submit(manager, request_class, read_values, owner_of(client))
            return await asyncio.to_thread(_answer, await _wait_for(job))
        except PipelineError as error:
            raise as_gradio_error(error) from error
        except Exception as error:
            raise gr.Error(say("status.unexpected", ENGLISH)) from error  # its own words may name a folder

    return _sign(endpoint, request_class, manager.model.defaults)


async def answer_wrong_names(_: Request, error: Exception) -> JSONResponse:
    """A sentence for a call with an unknown or a missing field, which Gradio's router would answer with a bare 500."""
    if unknown := re.match(r"Parameter `(.{1,80})` is not a valid", str(error)):
        return JSONResponse({"error": f"{unknown[1]} is not a field of this request"}, 422)
    if missing := re.match(r"No value provided for required argument: (\w+)", str(error)):
        return JSONResponse({"error": f"{missing[1]} is required"}, 422)
    raise error


def parameter_names(request_class: type[GenerationRequest]) -> tuple[str, ...]:
    """The request's fields, those that have to be given first, as Python wants its parameters."""
    fields = request_class.model_fields
    return tuple(sorted(fields, key=lambda name: not fields[name].is_required()))


async def _wait_for(job: Job) -> Result:
    """The job's result; raises its `PipelineError`. A call that is cancelled or left ends the job."""
    async with aclosing(listen(job)) as events:
        async for event in events:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Done):
                return event.result
            if _caller_has_gone():
                break
    raise Cancelled("The job was stopped.")


def _caller_has_gone() -> bool:
    """Whether the stream that the answer would go to was closed: Gradio itself looks only when a generator yields."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    event = blocks._queue.event_ids_to_events.get(event_id) if blocks and event_id else None
    return event is not None and not event.alive


def _answer(result: Result) -> Answer:
    files = [FileData(path=publish(file), orig_name=file.name) for file in result.files]
    return [file.model_dump() for file in files], describe(result)


def _given(name: str, value: Any) -> Any:
    """A file's path where the field takes a file; every other value as it came, for the request to judge."""
    if name not in FILE_FIELDS or value is None:
        return value
    if not isinstance(value, dict) or "path" not in value:
        raise PictureError(name, "must be an uploaded file", value)
    return Path(value["path"])


def _document(function: BlockFunction, request_class: type[GenerationRequest]) -> None:
    fields = request_class.model_fields
    descriptions = {name: fields[name].description or "" for name in parameter_names(request_class)}
    describe_parameters(function, descriptions, ("files", "info"))


def describe_parameters(function: BlockFunction, inputs: dict[str, str], outputs: tuple[str, ...]) -> None:
    """Names and describes the parameters, which Gradio would call "1st", "2nd" and leave unexplained."""
    for (name, description), component in zip(inputs.items(), function.inputs, strict=True):
        if isinstance(component, Api):
            component.label = name
            component._api_info["additional_description"] = description
    for name, component in zip(outputs, function.outputs, strict=True):
        if isinstance(component, Api):
            component.label = name


def _sign(
    endpoint: Callable[..., Any], request_class: type[GenerationRequest], defaults: dict[str, Any]
) -> Callable[..., Any]:
    """Gives `endpoint` the request's field names, types, defaults and descriptions."""
    parameters = [inspect.Parameter("client", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)]
    for name in parameter_names(request_class):
        field = request_class.model_fields[name]
        default = inspect.Parameter.empty if field.is_required() else defaults.get(name, field.default)
        kind = FileData if name in FILE_FIELDS else _json_type(request_class, name)
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
        )
    endpoint.__signature__ = inspect.Signature(parameters, return_annotation=tuple[list[FileData], dict])  # type: ignore[attr-defined]
    endpoint.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    endpoint.__name__ = request_class.__name__
    endpoint.__doc__ = request_class.__doc__
    return endpoint


def _json_type(request_class: type[GenerationRequest], name: str) -> Any:
    """The plain Python type of what a client sends for a field, as the documentation should show it."""
    schema = _read_schema(request_class)[name]
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    options = schema.get("anyOf", [schema])
    plain = _PLAIN_TYPES[options[0]["type"]]
    if "$ref" in options[0].get("items", {}):
        plain = list[dict[str, Any]]
    return plain | None if len(options) > 1 else plain


@cache
def _read_schema(request_class: type[GenerationRequest]) -> dict[str, Any]:
    return request_class.model_json_schema()["properties"]


_PLAIN_TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list}

_COUNTED = {
    "prompt": "The text to count.",
    "field": "Which of the request's prompts it is: styles put other words around a negative one.",
    **{
        name: TextToImageRequest.model_fields[name].description or ""
        for name in ("model", "prompt_syntax", "prompt_weighting", "styles")
    },
}
