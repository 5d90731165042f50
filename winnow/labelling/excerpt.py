"""The beginnings of a prompt and of an answer: enough of a row to recognise it, however long it is."""

from __future__ import annotations

from dataclasses import dataclass

from winnow.labelling.texts import prompt_and_answer
from winnow.records.example import Example

EXCERPT_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A prompt and an answer as far as they are shown, and how many characters they have in all."""

    prompt: str
    answer: str
    prompt_chars: int
    answer_chars: int

    @classmethod
    def of(cls, example: Example, *, max_chars: int = EXCERPT_CHARS) -> Excerpt:
        """Those of an example, each cut after `max_chars` characters."""
        prompt, answer = prompt_and_answer(example.turns)
        return cls(
            prompt=prompt[:max_chars],
            answer=answer[:max_chars],
            prompt_chars=len(prompt),
            answer_chars=len(answer),
        )
