"""From a request to an expert and its conditioning, with what was encoded before."""

from collections.abc import Mapping

from pipelines.components.cache import ComponentCache
from pipelines.components.expert import Expert
from pipelines.components.loading import Report
from pipelines.components.use import Use
from pipelines.diffusion.conditioning import Conditioning, make_conditioning
from pipelines.prompts.cache import EmbeddingCache
from pipelines.prompts.encoding import PromptEncoder
from pipelines.prompts.styles import Style
from pipelines.prompts.textual_inversion import Inversions
from pipelines.schema.requests import GenerationRequest


class Conditioner:
    """Loads experts when they are first wanted and turns requests into their conditioning."""

    def __init__(self, components: ComponentCache, styles: Mapping[str, Style]) -> None:
        self.components = components
        self.styles = styles
        self.embeddings = EmbeddingCache()
        self._generation = components.generation

    def condition(self, request: GenerationRequest, use: Use, name: str, report: Report) -> tuple[Expert, Conditioning]:
        """The expert called `name` and the request's conditioning for it; raises `PipelineError`."""
        selection = use.selection
        expert = self.components.expert(use, name, report)
        if self._generation != self.components.generation:  # an encoder was freed: its place may be taken by another
            self.embeddings.clear()
            self._generation = self.components.generation
        self.components.use_adapters(expert, selection, report)
        inversions = Inversions(expert, self.components.embedding_files(selection, report))
        acting = selection.adapters(name)
        encoder = PromptEncoder(
            expert, self.embeddings, request.clip_skip, inversions, acting, request.prompt_weighting
        )
        return expert, make_conditioning(expert, encoder, request, self.styles)
