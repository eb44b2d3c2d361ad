"""From a request to the texts that its pictures are drawn with: wildcards and variants chosen, styles put around."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pipelines.prompts.choosing import draw, is_open, sites_of
from pipelines.prompts.combinations import COUNT_LIMIT, Combinations
from pipelines.prompts.styles import Style, apply_styles
from pipelines.prompts.syntax import parse
from pipelines.prompts.variants import Wildcard, read_variants
from pipelines.prompts.wildcards import Wildcards, Words
from pipelines.schema.counts import WildcardCount
from pipelines.schema.errors import InvalidRequest, Plain
from pipelines.schema.requests import PROMPT_FIELDS, GenerationRequest
from pipelines.schema.types import MAX_PROMPT_CHARACTERS, Syntax

MAX_PICTURES = 64
"""Of all combinations of one request."""
_WHOLE_PROMPT_FORM = re.compile(r"\)\s*\.(?:and|add|blend)\s*\(")


@dataclass(frozen=True)
class Texts:
    """What the text encoders get to read, before anything in it is parsed."""

    prompt: str = ""
    negative_prompt: str = ""
    prompt_2: str = ""
    """Empty: the same as `prompt`."""
    negative_prompt_2: str = ""
    """Empty: the same as `negative_prompt`."""


@dataclass(frozen=True)
class Draw:
    """Pictures of one request that are drawn with the same texts."""

    request: GenerationRequest
    """With the drawn texts, the seed of the first of these pictures, and as many pictures as there are."""
    template: dict[str, str]
    """The fields that held wildcards or variants, as they were typed."""


def draw_prompts(request: GenerationRequest, wildcards: Wildcards) -> tuple[Draw, ...]:
    """What a request with a seed becomes: neighbouring pictures of equal texts together, or each combination.

    Raises `InvalidRequest` for too many combinations, and for a text that grows too long.
    """
    words = wildcards.words
    parts = {name: read_variants(text) for name, text in texts_of(request).items()}
    parts = {name: read for name, read in parts.items() if is_open(read, words)}
    template = {name: getattr(request, name) for name in parts}
    if request.all_combinations:
        return tuple(_draw_all(request, template, words))
    draws: list[Draw] = []
    for seed in request.seeds:
        drawn = {name: draw(read, words, seed=seed, field=name) for name, read in parts.items()}
        last = draws[-1].request if draws else None
        if last and all(getattr(last, name) == text for name, text in drawn.items()):
            more = last.model_copy(update={"num_images_per_prompt": last.num_images_per_prompt + 1})
            draws[-1] = Draw(more, template)
        else:
            draws.append(_make_draw(request, template, drawn, {"seed": seed, "num_images_per_prompt": 1}))
    return tuple(draws)


def draw_text(text: str, wildcards: Wildcards, *, seed: int, field: str) -> str:
    """The text that `draw_prompts` puts into a field for this seed."""
    return draw(read_variants(text), wildcards.words, seed=seed, field=field)


def count_combinations(texts: GenerationRequest | Mapping[str, str], wildcards: Wildcards) -> int:
    """How many combinations a request, or prompts under the names of their fields, can become; at most 10**15."""
    return combinations(texts, wildcards).count


def combinations(texts: GenerationRequest | Mapping[str, str], wildcards: Wildcards) -> Combinations:
    """Every combination of the prompts, in order."""
    return Combinations(texts_of(texts) if isinstance(texts, GenerationRequest) else texts, wildcards.words)


def wildcards_in(text: str, wildcards: Wildcards) -> tuple[WildcardCount, ...]:
    """The wildcards that a text names, each once and in order, with the number of their options."""
    words = wildcards.words
    names = dict.fromkeys(site.name for site in sites_of(read_variants(text)) if isinstance(site, Wildcard))
    return tuple(WildcardCount(name, sum(len(pool.options) for pool in words.find(name))) for name in names)


def holds_choices(text: str, wildcards: Wildcards) -> bool:
    """Whether a text holds a variant, or a wildcard that a file has."""
    return is_open(read_variants(text), wildcards.words)


def texts_of(request: GenerationRequest) -> dict[str, str]:
    """The prompts of a request under the names of their fields."""
    return {name: getattr(request, name) for name in PROMPT_FIELDS}


def final_texts(request: GenerationRequest, styles: Mapping[str, Style]) -> Texts:
    """The request's texts with its styles around them, the first one innermost.

    Raises `InvalidRequest` for a style that is not there, and where compel's `.and()` or `.blend()` speaks of the
    whole prompt, around which nothing can be put. A prompt for the second encoder that names LoRAs at most stays as it
    is: the first prompt is read in its place.
    """
    texts = texts_of(request)
    if not request.styles:
        return Texts(**texts)
    for name in request.styles:
        if name not in styles:
            near = ", ".join(get_close_matches(name, styles, cutoff=0.5))
            raise InvalidRequest("styles", f"must be names of styles{near and f' (nearest: {near})'}", name)
    if any(_is_whole(text, request.prompt_syntax) for text in texts.values()):
        raise InvalidRequest("styles", "must be empty for a prompt with .and() or .blend()", request.styles)
    chosen = [styles[name] for name in dict.fromkeys(request.styles)]
    for name, text in texts.items():
        if not name.endswith("_2") or parse(text, request.prompt_syntax).bare_text.strip():
            templates = [style.negative if name.startswith("negative") else style.prompt for style in chosen]
            texts[name] = apply_styles(text, templates)
    return Texts(**texts)


def _is_whole(text: str, syntax: Syntax) -> bool:
    """Whether one of compel's forms speaks of the whole text."""
    return bool(_WHOLE_PROMPT_FORM.search(text)) and parse(text, syntax).dialect == "compel"


def _draw_all(request: GenerationRequest, template: dict[str, str], words: Words) -> Iterator[Draw]:
    all_of_them = Combinations(template, words)
    pictures = all_of_them.count * request.num_images_per_prompt
    if pictures > MAX_PICTURES:
        many = str(pictures) if all_of_them.count < COUNT_LIMIT else f"{COUNT_LIMIT} or more"
        raise InvalidRequest("all_combinations", f"must make at most {MAX_PICTURES} pictures", Plain(many))
    for drawn in all_of_them:
        yield _make_draw(request, template, drawn, {"all_combinations": False})


def _make_draw(
    request: GenerationRequest, template: dict[str, str], drawn: dict[str, str], changes: dict[str, int | bool]
) -> Draw:
    """Raises `InvalidRequest` for a text that grew too long."""
    for name, text in drawn.items():
        if len(text) > MAX_PROMPT_CHARACTERS:
            rule = f"must have at most {MAX_PROMPT_CHARACTERS} characters once its wildcards are drawn"
            raise InvalidRequest(name, rule, text)
    return Draw(request.model_copy(update={**drawn, **changes}), template)
