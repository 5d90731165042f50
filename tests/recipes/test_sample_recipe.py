"""The generator of the sample: repeatable, and its faults are what their labels say."""

from __future__ import annotations

import pytest

from recipes.sample.faults import content_words, echo, near_duplicate, strangers
from recipes.sample.generate import generate
from recipes.sample.record import Fault, Record
from winnow.sample import sample_path


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return generate()


def planted(records: list[Record], fault: Fault) -> list[Record]:
    return [record for record in records if record.planted is fault]


def test_the_bundled_file_is_what_the_generator_writes(records: list[Record]) -> None:
    text = "".join(record.line() + "\n" for record in records)

    assert sample_path().read_bytes() == text.encode()


def test_no_prompt_occurs_twice(records: list[Record]) -> None:
    assert len({record.prompt for record in records}) == len(records)


def test_a_mismatched_answer_shares_no_content_word_with_its_prompt(
    records: list[Record],
) -> None:
    mismatched = planted(records, Fault.ANSWER_OF_ANOTHER_RECORD)

    assert mismatched
    for record in mismatched:
        assert not content_words(record.prompt) & content_words(record.output)


def test_only_the_empty_answers_are_empty(records: list[Record]) -> None:
    empty = [record for record in records if not record.output]

    assert empty == planted(records, Fault.EMPTY_ANSWER)


def test_one_word_answers_have_one_word(records: list[Record]) -> None:
    counts = [len(record.output.split()) for record in planted(records, Fault.ONE_WORD_ANSWER)]

    assert set(counts) == {1}


def test_a_near_duplicate_has_a_sound_twin_with_the_same_answer(records: list[Record]) -> None:
    sound = {record.output for record in records if record.planted is None}

    assert all(record.output in sound for record in planted(records, Fault.NEAR_DUPLICATE))


def test_an_echo_repeats_instruction_and_input() -> None:
    record = Record(instruction="Sort.", input="b, a", output="a, b", source="ordering")

    assert echo(record).output == "Sort.\nb, a"


def test_a_near_duplicate_differs_in_the_instruction_only() -> None:
    record = Record(instruction="Sort.", input="b, a", output="a, b", source="ordering")
    twin = near_duplicate(record)

    assert (twin.input, twin.output) == (record.input, record.output)
    assert twin.instruction.endswith("sort.")


@pytest.mark.parametrize(
    ("source", "answer", "expected"),
    [
        ("history", "Something else entirely.", True),
        ("science", "Something else entirely.", False),
        ("history", "A planet of rock.", False),
    ],
)
def test_strangers_have_other_sources_and_no_word_in_common(
    source: str, answer: str, expected: bool
) -> None:
    a = Record(instruction="Which planet is red?", output="Mars looks rusty.", source="science")
    b = Record(instruction="Who was queen?", output=answer, source=source)

    assert strangers(a, b) is expected


def test_a_conversion_states_the_exact_result(records: list[Record]) -> None:
    answers = [record.output for record in records if record.source == "measures"]

    assert any("16.090 kilometres" in answer for answer in answers)
