r"""The text that `winnow-mini` is trained on: openly licensed records, one document each.

A record becomes `"{instruction}\n"`, `"{input}\n"` if there is an input, and the answer; WikiText
becomes one document per article. Every hundredth document is held out for the losses on the card.

Not covered: Stanford Alpaca (non-commercial licence), never read here, and the GSM8K test split.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOLD_OUT_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFile:
    """One file of records, of which every `keep_every`-th is used."""

    name: str
    keep_every: int = 1


# The tool-use prompts repeat a handful of preambles word for word, so a third of them teaches enough.
RECORD_FILES = (
    RecordFile(name="dolly.jsonl"),
    RecordFile(name="gsm8k_train.jsonl"),
    RecordFile(name="gpteacher_codegen.jsonl"),
    RecordFile(name="gpteacher_roleplay.jsonl"),
    RecordFile(name="gpteacher_toolformer.jsonl", keep_every=3),
)
ARTICLE_FILES = ("wikitext2_valid.txt", "wikitext2_test.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Documents to train on, and documents that are only evaluated."""

    train: list[str]
    held_out: list[str]


def read_corpus(folder: Path) -> Corpus:
    """Every document of `folder`, split by position, so that the split never changes."""
    documents = [*_records(folder), *_articles(folder)]
    return Corpus(
        train=[text for i, text in enumerate(documents) if i % HOLD_OUT_EVERY],
        held_out=documents[::HOLD_OUT_EVERY],
    )


def plain_text(instruction: str, context: str, answer: str) -> str:
    """A record as one text, in the `plain` template."""
    return f"{instruction}\n{context}\n{answer}" if context else f"{instruction}\n{answer}"


def _records(folder: Path) -> Iterator[str]:
    for file in RECORD_FILES:
        with (folder / file.name).open(encoding="utf-8") as lines:
            for i, line in enumerate(lines):
                if i % file.keep_every == 0:
                    row = json.loads(line)
                    yield plain_text(row["instruction"], row["input"], row["output"])


def _articles(folder: Path) -> Iterator[str]:
    """Articles without the paragraphs that hide words behind `<unk>`."""
    for name in ARTICLE_FILES:
        text = (folder / name).read_text(encoding="utf-8")
        for article in re.split(r"(?m)^ = (?=[^=])", text)[1:]:
            lines = (detokenise(line) for line in article.splitlines() if "<unk>" not in line)
            yield "\n".join(line for line in lines if line)


def detokenise(line: str) -> str:
    """WikiText's spaced-out tokens as ordinary writing."""
    line = re.sub(r" @(.)@ ", r"\1", line)
    line = re.sub(r" ([,.;:!?)\]%]|'s\b|n't\b)", r"\1", line)
    line = re.sub(r"([(\[$£]) ", r"\1", line)
    line = re.sub(r'" ([^"]*?) "', r'"\1"', line)
    return line.strip(" =")
