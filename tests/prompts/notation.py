"""A short way to write down what a prompt says: `a {cat×1.1}` is "a " and, weighted 1.1, "cat".

compel's fragments begin and end without space; a space is written between them.
"""

from pipelines.prompts.reading import Blend, Fragment, Passage, Reading
from pipelines.prompts.syntax import Prompt

STEPS = 10


def write(prompt: Prompt, steps: int = STEPS) -> str:
    """The reading; of a scheduled prompt all of them, as `1-5: red; 6-10: blue`."""
    if not prompt.is_scheduled:
        return write_reading(prompt.reading(1, steps))
    stages = prompt.stages(steps)
    firsts = [1, *(last + 1 for last, _ in stages)]
    lines = [(f"{first}-{last}", reading) for first, (last, reading) in zip(firsts, stages, strict=False)]
    return "; ".join(f"{span}: {write_reading(reading)}" for span, reading in lines)


def write_reading(reading: Reading) -> str:
    """Parts stand between `&`, their weights behind `@`."""
    glue = " " if reading.dialect == "compel" else ""
    parts = zip(reading.parts, reading.weights, strict=True)
    return " & ".join(f"{_part(part, glue)}{f'@{weight:g}' if weight != 1 else ''}" for part, weight in parts)


def _part(part: Passage | Blend, glue: str) -> str:
    """Sections stand between `//`; `blend` divides by the sum of its weights, `sum` does not."""
    if isinstance(part, Passage):
        return " // ".join(glue.join(map(_fragment, section)) for section in part.sections)
    items = zip(part.passages, part.weights, strict=True)
    inside = ", ".join(f"{_part(item, glue)}@{weight:g}" for item, weight in items)
    return f"{'blend' if part.normalized else 'sum'}({inside})"


def _fragment(fragment: Fragment) -> str:
    return fragment.text if fragment.weight == 1 else f"{{{fragment.text}×{fragment.weight:.4g}}}"
