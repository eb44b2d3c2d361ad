"""What a run has found: printed as it comes, and written as JSON and as a picture."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import HEADER, Figure
from benchmarks.plot import draw_plot


@dataclass
class Report:
    """Figures by the measure that gave them, and the machine they are of."""

    machine: dict[str, Any]
    figures: dict[str, list[Figure]] = field(default_factory=dict)

    def add(self, measure: str, figures: list[Figure]) -> None:
        """Takes a measure's figures in and prints their table."""
        self.figures[measure] = figures
        print("\n" + HEADER.format(title=measure.replace("_", " ")))
        print(*(figure.row() for figure in figures), sep="\n", flush=True)

    @property
    def broken(self) -> list[str]:
        """The figures whose promises are not kept."""
        return [figure.name for figures in self.figures.values() for figure in figures if not figure.is_kept]

    def write(self, folder: Path, name: str) -> None:
        """`name`.json and `name`.png in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        measures = {measure: [figure.as_json() for figure in figures] for measure, figures in self.figures.items()}
        text = json.dumps({"machine": self.machine, "measures": measures}, indent=1)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        draw_plot(self.figures, str(self.machine.get("processor", "")), folder / f"{name}.png")
