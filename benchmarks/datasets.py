"""Datasets made on the spot, so that a benchmark needs no file of anybody's."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = [
    "answer",
    "basket",
    "carbon",
    "degree",
    "engine",
    "forest",
    "garden",
    "harbour",
    "island",
    "journal",
    "kernel",
    "letter",
    "metal",
    "notebook",
    "orchard",
    "parcel",
    "quarry",
    "river",
    "signal",
    "tunnel",
    "umbrella",
    "valley",
    "window",
    "yellow",
    "zenith",
]


def write_jsonl(path: Path, *, rows: int = 0, num_bytes: int = 0, answer_words: int = 40) -> int:
    """Write Alpaca records until there are `rows` of them, or `num_bytes` bytes; return the rows written."""
    random_ = random.Random(7)
    lines = [_record(random_, number, answer_words) for number in range(2000)]
    written = size = 0
    with path.open("wb") as file:
        while written < rows or size < num_bytes:
            line = lines[written % len(lines)].replace(b"NUMBER", b"%d" % written)
            file.write(line)
            written, size = written + 1, size + len(line)
    return written


def _record(random_: random.Random, number: int, answer_words: int) -> bytes:
    words = random_.choices(WORDS, k=answer_words + random_.randrange(answer_words))
    record = {
        "id": "row NUMBER",
        "instruction": f"Write a sentence about the {words[0]} and the {words[1]}, variant {number}.",
        "input": "",
        "output": " ".join(words),
    }
    return json.dumps(record).encode() + b"\n"
