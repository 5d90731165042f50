"""One record of the sample, in the fields of Alpaca plus where it comes from."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What was done to a record on purpose."""

    ANSWER_OF_ANOTHER_RECORD = "answer_of_another_record"
    ECHO_OF_PROMPT = "echo_of_prompt"
    ONE_WORD_ANSWER = "one_word_answer"
    NEAR_DUPLICATE = "near_duplicate"
    EMPTY_ANSWER = "empty_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record; `planted` names its fault, and is None for a sound one."""

    instruction: str
    output: str
    source: str
    input: str = ""
    id: str = ""
    planted: Fault | None = None

    @property
    def prompt(self) -> str:
        """Everything the answer may refer to."""
        return f"{self.instruction} {self.input}"

    def line(self) -> str:
        """The record as a line of JSON."""
        fields = asdict(self)
        order = ("id", "source", "instruction", "input", "output", "planted")
        return json.dumps({name: fields[name] for name in order}, ensure_ascii=False)
