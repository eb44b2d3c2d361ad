"""Serves the page over a manager that only pretends to draw: `python -m tests.browser.pretend PORT FOLDER`."""

import sys
from pathlib import Path
from typing import Any

from tests.ui.fake_manager import FakeManager
from ui.layout import build_app, launch_options


def main() -> None:
    """Until the process is ended."""
    manager: Any = FakeManager(Path(sys.argv[2]))
    options = launch_options(manager.model.native_size)
    build_app(manager).launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, **options)


if __name__ == "__main__":
    main()
