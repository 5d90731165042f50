"""A small job on a tiny model, and a shelf of what came of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.training.jobs import MakeJob
from winnow.records.example import Example, Turn
from winnow.training.job import TRAIN_FILE, VALIDATION_FILE, TrainingJob, write_examples
from winnow.training.spec import FineTuneSpec

TINY = Path(__file__).parent.parent / "golden" / "tiny-gpt2"
WORDS = ["the cat", "sat", "on a mat", "and ate", "some fish", "while", "red dogs", "slept", "warm"]


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Rows of many lengths; 41 of them, so that batches of four leave one over."""
    draw = random.Random(5)  # noqa: S311

    def text(longest: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, longest)))

    return [
        Example(
            row=row,
            turns=(
                Turn(role="user", content=text(9)),
                Turn(role="assistant", content=text(20)),
            ),
        )
        for row in range(41)
    ]


@pytest.fixture(scope="session")
def make_job(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> MakeJob:
    """Fill the folder of a job: batches of four for two epochs unless the options say otherwise."""

    def make(
        *,
        base: Path = TINY,
        validation: int = 0,
        rows: int = 41,
        dtype_before: str | None = None,
        **options: object,
    ) -> Path:
        folder = tmp_path_factory.mktemp("job")
        chosen = {"model": "tiny", "template": "plain", "batch_size": 4, "n_epochs": 2} | options
        TrainingJob(
            spec=FineTuneSpec.make(**chosen),
            base_folder=base,
            name="ft:tiny:test:0123456789ab",
            provenance={"dataset": "ds_cats", "dataset_digest": "d1g3st", "ratio": 0.1},
            dtype=dtype_before,
        ).write(folder)
        write_examples(folder / TRAIN_FILE, examples[:rows])
        if validation:
            write_examples(folder / VALIDATION_FILE, examples[:validation])
        return folder

    return make
