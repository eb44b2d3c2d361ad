"""Starts the studio: flags and `SDXL_*` variables become settings, settings an engine, the engine a page.

`python app.py --help` lists the flags. A Hugging Face Space runs this file as it is.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.schema.errors import PipelineError
from pipelines.schema.settings import Settings

QUIET = {
    "OMP_WAIT_POLICY": "passive",  # torch's threads would busy-wait against the server's and take its time
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",  # it would tell everybody that torchvision is not needed here
}
"""Set before torch and Gradio are imported, unless the host has set them."""


def main(arguments: Sequence[str]) -> None:
    """Serves the studio until Ctrl+C."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    settings = read_settings(arguments, os.environ)
    check_folders(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a container's stop ends the studio as Ctrl+C does

    # Gradio names what it serves by content and clears it when it ends: two studios must not share a folder
    served = tempfile.TemporaryDirectory(prefix="sdxl-studio-", ignore_cleanup_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = os.environ.get("GRADIO_TEMP_DIR") or str(Path(served.name).resolve())

    from pipelines.manager import PipelineManager
    from ui.layout import build_app, launch_options

    try:
        manager = PipelineManager(settings)
    except PipelineError as error:
        sys.exit(f"app.py: {error}")
    print(f"{manager.model.title} on {manager.status().device}: {manager.reason}", flush=True)
    app = build_app(manager)
    try:
        _, address, public = app.launch(
            server_name=settings.host,
            server_port=settings.port or None,
            share=settings.share,
            auth=tuple(settings.auth.split(":", 1)) if settings.auth else None,  # type: ignore[arg-type]
            prevent_thread_lock=True,
            quiet=True,
            **launch_options(manager.model.native_size),
        )
        print(f"Open {public or address} in a browser; Ctrl+C ends the studio.", flush=True)
        manager.warm_up()
        app.block_thread()
    except OSError as error:
        sys.exit(f"app.py: --port {settings.port} on {settings.host} cannot be opened: {error}")
    finally:
        manager.close()
        served.cleanup()


def check_folders(settings: Settings) -> None:
    """Ends the program with a line for a folder that is not there, or that no picture could be written to."""
    if settings.models_dir != Settings.model_fields["models_dir"].default and not settings.models_dir.is_dir():
        sys.exit(f"app.py: --models-dir must be a folder, got {str(settings.models_dir)!r}")
    try:
        settings.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"app.py: --output-dir {str(settings.output_dir)!r} cannot be made: {error.strerror}")


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings from flags over `SDXL_*` variables over the defaults; ends the program with a line for a wrong one."""
    given = vars(make_parser().parse_args(arguments))
    is_space = bool(environment.get("SPACE_ID"))
    values: dict[str, Any] = {"host": "0.0.0.0"} if is_space else {}  # noqa: S104 - a Space's proxy
    for name in Settings.model_fields:
        variable = environment.get(_variable(name))
        if variable not in (None, ""):
            values[name] = variable
        if given[name] is not None:
            values[name] = given[name]
    try:
        settings = Settings(**values)
        if settings.downloads is None:
            settings = settings.model_copy(update={"downloads": not (settings.share or is_space)})
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        source = _flag(name) if given[name] is not None else _variable(name)
        got = "" if name == "auth" else f", got {first['input']!r}"  # a password is nobody's business
        sys.exit(f"app.py: {source} {_rule(first)}{got}")


def make_parser() -> argparse.ArgumentParser:
    """One flag for each field of `Settings`, with its description."""
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="A studio for Stable Diffusion XL in the browser.",
        epilog="Each flag is also read from the environment: --output-dir from SDXL_OUTPUT_DIR, and so on.",
    )
    for name, field in Settings.model_fields.items():
        is_switch = field.annotation in (bool, bool | None)
        options: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if is_switch else {"metavar": name.upper()}
        parser.add_argument(_flag(name), dest=name, default=None, help=field.description, **options)
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return f"SDXL_{name.upper()}"


def _rule(error: Any) -> str:
    if error["type"] == "string_pattern_mismatch":
        return "must be name:password"
    return str(error["msg"]).replace("Input should be", "must be")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # before the page is there; afterwards Gradio catches it
        main(sys.argv[1:])
