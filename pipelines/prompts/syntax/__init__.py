"""What a prompt's signs mean, in A1111's syntax and compel's; knows no text encoder."""

from pipelines.prompts.syntax.draft import LoraTag
from pipelines.prompts.syntax.hints import CODES
from pipelines.prompts.syntax.prompt import Prompt, parse

__all__ = ["CODES", "LoraTag", "Prompt", "parse"]
