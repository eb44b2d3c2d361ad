"""The contract of a tab file: what it draws, and for which request."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.schema.requests import GenerationRequest
from ui.fields import Fields


@dataclass(frozen=True)
class Tab:
    """One tab. A new one is a file with a `Tab` in it and that name in `ui.tabs.TABS`."""

    request_class: type[GenerationRequest]
    """Its task is the tab's id; its title stands under "tab.<task>" in the words of `ui/i18n/`."""
    build: Callable[[Fields], None]
    """Draws the left column, from top to bottom, with an input for each field it offers."""

    @property
    def task(self) -> str:
        """The task's name, which is also the tab's id."""
        return self.request_class.task
