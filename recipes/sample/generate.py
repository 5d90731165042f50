"""Write the sample: the same bytes every time, with neither network nor model.

python -m recipes.sample.generate winnow/sample/sample.jsonl
"""

import argparse
from dataclasses import replace
from pathlib import Path
from random import Random

from recipes.sample.arithmetic import word_problems
from recipes.sample.documents import documents
from recipes.sample.faults import plant
from recipes.sample.geography import questions
from recipes.sample.material import hand_written
from recipes.sample.measures import conversions
from recipes.sample.record import Record

SEED = 7
NUM_WORD_PROBLEMS = 128
NUM_DOCUMENTS = 128


def generate() -> list[Record]:
    """All records, shuffled and numbered."""
    random = Random(SEED)
    sound = [
        *hand_written(),
        *word_problems(random, NUM_WORD_PROBLEMS),
        *conversions(random),
        *questions(random),
        *documents(random, NUM_DOCUMENTS),
    ]
    records = plant(sound, random)
    random.shuffle(records)
    return [replace(record, id=f"sample-{i:04}") for i, record in enumerate(records)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the bundled sample.")
    parser.add_argument("file", type=Path)
    text = "".join(record.line() + "\n" for record in generate())
    parser.parse_args().file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
