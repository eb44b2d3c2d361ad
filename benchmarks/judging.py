"""Who judges whether a traded picture shows what was asked for, where it is there: the edge judge of `training`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.schema.paths import PROJECT

JUDGE = PROJECT / "models" / "demo" / "judge.safetensors"
PROMPTS = 200


@dataclass(frozen=True)
class Exam:
    """Prompts that the embedded model was not trained with, and who says whether a picture shows what they name."""

    prompts: tuple[str, ...]
    subjects: tuple[str, ...]
    name_subjects: Callable[[np.ndarray], list[str]]
    """Pictures (n, h, w, 3) uint8."""

    def judge(self, pictures: Sequence[np.ndarray]) -> list[bool]:
        """Whether each shows the subject of its prompt: picture k is that of prompt k, from the first again."""
        seen = self.name_subjects(np.stack(pictures))
        wanted = [self.subjects[number % len(self.subjects)] for number in range(len(pictures))]
        return [mine == theirs for mine, theirs in zip(seen, wanted, strict=True)]


def load_exam(path: Path = JUDGE) -> Exam | None:
    """The held-out prompts and the judge that is shipped with the embedded model; `None` where it is missing."""
    if not path.is_file():
        return None
    from training.config import Config
    from training.exams import held_out_prompts, plain_prompt
    from training.judge import load_exported_judge

    pairs = held_out_prompts(Config(), PROMPTS)
    prompts = tuple(plain_prompt(*pair) for pair in pairs)
    return Exam(prompts, tuple(subject for subject, _ in pairs), load_exported_judge(path).names)
