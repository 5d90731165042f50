"""The bundled sample is what the package says it is."""

from __future__ import annotations

import json
from collections import Counter

from winnow.sample import MISMATCH, PLANTED_FIELD, sample_path

FIELDS = ["id", "source", "instruction", "input", "output", PLANTED_FIELD]


def test_the_sample_has_about_600_records_with_the_same_fields() -> None:
    records = [json.loads(line) for line in sample_path().read_text("utf-8").splitlines()]

    assert 550 <= len(records) <= 650
    assert all(list(record) == FIELDS for record in records)
    assert all(isinstance(record[name], str) for record in records for name in FIELDS[:-1])
    assert len({record["id"] for record in records}) == len(records)


def test_every_kind_of_fault_is_planted_and_most_records_are_sound() -> None:
    lines = sample_path().read_text("utf-8").splitlines()
    planted = Counter(json.loads(line)[PLANTED_FIELD] for line in lines)

    assert set(planted) == {
        None,
        MISMATCH,
        "echo_of_prompt",
        "one_word_answer",
        "near_duplicate",
        "empty_answer",
    }
    assert planted[None] > 0.8 * len(lines)
    assert planted[MISMATCH] >= 30
