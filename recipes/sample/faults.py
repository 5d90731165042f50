"""The planted faults: what dirty data looks like, each record labelled with what was done to it.

Mismatches come in pairs whose answers change places. The two records are of different sources, their
answers are sentences rather than fragments, and neither answer shares a content word with the prompt
that it lands under: the fault is genuine, not a matter of taste.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from recipes.sample.record import Fault, Record

NUM_SWAPS = 18
NUM_ECHOES = 12
NUM_ONE_WORD = 10
NUM_EMPTY = 8
NUM_NEAR_DUPLICATES = 16
MIN_SWAPPED_WORDS = 12
ONE_WORD = ("Yes.", "Maybe.", "Done.", "Unknown.", "Sure.", "No.", "Okay.", "Several.")


def plant(records: list[Record], random: Random) -> list[Record]:
    """The records, some of them damaged, and some near-duplicates behind them."""
    places = random.sample(range(len(records)), len(records))
    damaged = dict(enumerate(records))
    for first, second in _swaps(records, places):
        fault = Fault.ANSWER_OF_ANOTHER_RECORD
        a, b = records[first], records[second]
        damaged[first] = replace(a, output=b.output, planted=fault)
        damaged[second] = replace(b, output=a.output, planted=fault)
    untouched = (place for place in places if damaged[place].planted is None)
    for place in _next(untouched, NUM_ECHOES):
        damaged[place] = echo(records[place])
    for place in _next(untouched, NUM_ONE_WORD):
        word = random.choice(ONE_WORD)
        damaged[place] = replace(records[place], output=word, planted=Fault.ONE_WORD_ANSWER)
    for place in _next(untouched, NUM_EMPTY):
        damaged[place] = replace(records[place], output="", planted=Fault.EMPTY_ANSWER)
    copies = [near_duplicate(records[place]) for place in _next(untouched, NUM_NEAR_DUPLICATES)]
    return [*damaged.values(), *copies]


def content_words(text: str) -> set[str]:
    """Words that carry meaning: five letters or more, and every number."""
    return set(re.findall(r"[^\W\d_]{5,}|\d+", text.lower()))


def echo(record: Record) -> Record:
    """The record with its own prompt for an answer."""
    prompt = "\n".join(part for part in (record.instruction, record.input) if part)
    return replace(record, output=prompt, planted=Fault.ECHO_OF_PROMPT)


def near_duplicate(record: Record) -> Record:
    """The record once more, its prompt worded a little differently."""
    first, rest = record.instruction[0], record.instruction[1:]
    return replace(
        record,
        instruction=f"Please help me with this: {first.lower()}{rest}",
        planted=Fault.NEAR_DUPLICATE,
    )


def _swaps(records: list[Record], places: list[int]) -> Iterator[tuple[int, int]]:
    """Disjoint pairs of records that can exchange answers, in the order of `places`."""
    free = [place for place in places if len(records[place].output.split()) >= MIN_SWAPPED_WORDS]
    for _ in range(NUM_SWAPS):
        first = free.pop(0)
        second = next(place for place in free if strangers(records[first], records[place]))
        free.remove(second)
        yield first, second


def strangers(a: Record, b: Record) -> bool:
    """Whether the answer of each has nothing to do with the prompt of the other."""
    shared = (content_words(a.prompt) & content_words(b.output)) | (
        content_words(b.prompt) & content_words(a.output)
    )
    return a.source != b.source and not shared


def _next(places: Iterator[int], count: int) -> list[int]:
    return [next(places) for _ in range(count)]
