"""The hand-written records, one TOML file a source."""

import tomllib
from pathlib import Path

from recipes.sample.record import Record

FOLDER = Path(__file__).parent / "material"
SOURCES = ("code", "explanations", "history", "letters", "lists", "science", "texts", "words")


def hand_written() -> list[Record]:
    """All hand-written records, source by source in the order of the files."""
    return [
        Record(source=source, **fields)
        for source in SOURCES
        for fields in tomllib.loads((FOLDER / f"{source}.toml").read_text("utf-8"))["record"]
    ]
