"""What is refused before Gradio touches it."""

from typing import Any

import pytest
from gradio.utils import get_upload_folder

from pipelines.schema.errors import InvalidRequest
from ui.painter import MAX_CHARACTERS
from ui.studio_blocks import MAX_DEPTH, check_value


def nest(depth: int) -> Any:
    value: Any = "a fox"
    for _ in range(depth):
        value = [value]
    return value


def test_deep_nesting_is_a_sentence_and_no_recursion() -> None:
    check_value("prompt", nest(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidRequest, match=r"^prompt must be nested at most 16 levels deep, got more$"):
            check_value("prompt", nest(depth))


def test_a_text_longer_than_any_mask_is_refused_wherever_it_stands() -> None:
    check_value("file", {"mask": "x" * MAX_CHARACTERS})
    with pytest.raises(InvalidRequest, match=r"^file must have at most 32 MB, got "):
        check_value("file", [{"mask": "x" * (MAX_CHARACTERS + 1)}])


def test_a_file_may_stand_at_any_depth_if_it_was_uploaded() -> None:
    check_value("file", [{"picture": {"path": f"{get_upload_folder()}/ab/a.png"}}])
    with pytest.raises(InvalidRequest, match="must be an uploaded file, got '/etc/passwd'"):
        check_value("file", [{"picture": {"path": "/etc/passwd"}}])
