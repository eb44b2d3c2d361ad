"""Flags and variables of `app.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

from app import make_parser, read_settings
from pipelines.schema.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]


def test_every_setting_is_a_flag_with_help() -> None:
    text = " ".join(make_parser().format_help().split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join((field.description or "missing").split()) in text


def test_a_flag_wins_over_a_variable_and_that_over_the_default() -> None:
    environment = {"SDXL_PORT": "1234", "SDXL_PRELOAD": "true", "SDXL_MODEL": ""}
    settings = read_settings(["--port", "4321"], environment)
    assert (settings.port, settings.preload, settings.model) == (4321, True, None)
    assert read_settings([], environment).port == 1234
    assert read_settings([], {}) == Settings(downloads=True)


def test_strangers_may_not_start_downloads() -> None:
    assert read_settings(["--share"], {}).downloads is False
    assert read_settings([], {"SPACE_ID": "me/studio"}).downloads is False
    assert read_settings(["--share", "--downloads"], {}).downloads is True


def test_a_space_listens_to_its_proxy() -> None:
    assert read_settings([], {"SPACE_ID": "me/studio"}).host == "0.0.0.0"
    assert read_settings([], {"SPACE_ID": "me/studio", "SDXL_HOST": "127.0.0.1"}).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "environment", "parts"),
    [
        (["--port", "99999"], {}, ("--port", "65535", "99999")),
        ([], {"SDXL_PORT": "abc"}, ("SDXL_PORT", "abc")),
        (["--dtype", "int8"], {}, ("--dtype", "float16", "int8")),
        (["--auth", "me"], {}, ("--auth", "name:password")),
    ],
)
def test_a_wrong_value_is_one_line(arguments: list[str], environment: dict[str, str], parts: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(arguments, environment)
    line = str(ended.value)
    assert "\n" not in line
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(("arguments", "environment"), [(["--auth", "hunter2"], {}), ([], {"SDXL_AUTH": "hunter2"})])
def test_a_password_is_never_printed(arguments: list[str], environment: dict[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(arguments, environment)
    assert "name:password" in str(ended.value)
    assert "hunter2" not in str(ended.value)


def test_help_needs_neither_torch_nor_gradio() -> None:
    code = "import sys, app; print([n for n in ('torch', 'gradio') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
