"""Where the project's own data stands, wherever the app was started from."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PRESETS = PROJECT / "presets"
