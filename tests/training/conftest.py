"""What the tests of the recipe and of the embedded model share."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.fetch import is_fetched

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sprites() -> Path:
    folder = REPOSITORY / "training" / "work" / "data"
    if not is_fetched(folder):
        pytest.skip("the npm packages are not fetched: python -m training fetch")
    return folder


@pytest.fixture(scope="session")
def demo() -> Path:
    return REPOSITORY / "models" / "demo"
