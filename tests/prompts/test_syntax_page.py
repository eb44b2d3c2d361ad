"""The page on prompts tells the truth: its table is read, and parsed."""

import re
from pathlib import Path

import pytest

from pipelines.prompts.limits import MAX_CHUNKS, MAX_PASSES, MAX_STAGE_CHUNKS, MAX_TOKENS
from pipelines.prompts.syntax import parse
from pipelines.schema.types import MAX_PROMPT_CHARACTERS
from tests.prompts.notation import write

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
CELL = r"`((?:[^`|]|\\\|)+)`"
ROW = re.compile(rf"^\| {CELL} \| (plain|A1111|compel) \| {CELL} \| {CELL} \|$", re.MULTILINE)
ROWS = [tuple(cell.replace("\\|", "|") for cell in row) for row in ROW.findall(PAGE)]


@pytest.mark.parametrize(("text", "seen", "as_a1111", "as_compel"), ROWS)
def test_a_row_of_the_table_is_true(text: str, seen: str, as_a1111: str, as_compel: str) -> None:
    assert parse(text).dialect == seen.lower()
    assert write(parse(text, "a1111")) == as_a1111
    assert write(parse(text, "compel")) == as_compel


def test_every_row_of_the_table_is_read() -> None:
    table = PAGE[PAGE.index("| You write | `auto` sees") : PAGE.index("- **Emphasis.**")]
    assert len(ROWS) == len(table.strip().splitlines()) - 2 >= 30


def test_the_page_says_how_long_a_prompt_may_be() -> None:
    assert f"{MAX_PROMPT_CHARACTERS:,} characters" in PAGE
    limits = PAGE[PAGE.index("### Limits") : PAGE.index("## Editing")]
    counts = (f"{MAX_TOKENS:,} tokens", f"{MAX_CHUNKS} chunks", f"{MAX_PASSES} chunks", f"{MAX_STAGE_CHUNKS} chunks")
    assert [count for count in counts if count not in limits] == []
