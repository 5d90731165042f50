"""Twenty synthetic task families of very unequal size, two of label noise, and tests that training never saw.

A prompt names its task and lists items, "kindly ana reverse b d a ->"; the answer follows from task and items. The
manner and the name say nothing, and make every family large enough for any size. The difficulty, 1 to 3, is the number
of items (one more where a task joins its items). Sizes fall from 5,000 to 50 by Zipf's law; which family gets which is
drawn with the seed. The answers of a noise family are drawn at random: nothing but a loss that stays high is to be had.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LARGEST, SMALLEST = 5000, 50
NOISE_ROWS = 400
TESTS = 200
DIFFICULTIES = 3

Items = Sequence[str]
Answer = Callable[[Items], Items]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record: words of the prompt, of the answer, and where it comes from."""

    family: str
    difficulty: int
    prompt: tuple[str, ...]
    answer: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A task: `items` are drawn from `pool`, `extra` more than the difficulty says, and `answer` maps them."""

    name: str
    pool: tuple[str, ...]
    answer: Answer
    extra: int = 0

    def row(self, draw: random.Random) -> Row:
        """A record at a random difficulty."""
        difficulty = draw.randint(1, DIFFICULTIES)
        items = [draw.choice(self.pool) for _ in range(difficulty + self.extra)]
        prompt = (draw.choice(MANNERS), draw.choice(PEOPLE), self.name, *items, "->")
        return Row(
            family=self.name,
            difficulty=difficulty,
            prompt=prompt,
            answer=tuple(self.answer(items)),
        )


def _each(pairs: dict[str, str]) -> Answer:
    return lambda items: [pairs[item] for item in items]


def _shifted(cycle: Sequence[str], by: int) -> dict[str, str]:
    return {word: cycle[(at + by) % len(cycle)] for at, word in enumerate(cycle)}


def _total(items: Items) -> Items:
    return [str(sum(int(item) for item in items))]


def _difference(items: Items) -> Items:
    return [str(max(map(int, items)) - min(map(int, items)))]


def _largest(items: Items) -> Items:
    return [str(max(map(int, items)))]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MANNERS = _words(
    "kindly quickly clearly briefly slowly surely calmly bluntly neatly warmly softly boldly"
)
PEOPLE = _words(
    "ana ben cleo dan eva finn gus hana ivo jana kai lena milo nora otto pia quin rosa sam tara"
)
LETTERS = tuple("abcdefghij")
CAPITALS = tuple("ABCDEFGHIJ")
DIGITS = tuple("0123456789")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = _words("jan feb mar apr may jun jul aug sep oct nov dec")
SEASONS = _words(
    "winter winter spring spring spring summer summer summer autumn autumn autumn winter"
)
COUNTRIES = _words("aral bosna corvo dalar elvia forn galt hesk irid jorm kesh lorn")
CITIES = _words("apor brint celm doru ensk fal gomel hurst ipsen jala korun lisk")
THINGS = _words("apple brick cloud door egg flag grape hat ink jar kite leaf")
COLOURS = _words("red brown white green white blue purple black blue clear yellow green")
WORDS = _words("big hot wet up fast old rich loud full open true soft")
OPPOSITES = _words("small cold dry down late new poor quiet empty shut false hard")

FAMILIES = (
    Family(name="sum", pool=DIGITS, answer=_total, extra=1),
    Family(name="difference", pool=DIGITS, answer=_difference, extra=1),
    Family(name="largest", pool=DIGITS, answer=_largest, extra=1),
    Family(name="double", pool=DIGITS, answer=_each({d: str(2 * int(d)) for d in DIGITS})),
    Family(
        name="parity", pool=DIGITS, answer=_each({d: ("even", "odd")[int(d) % 2] for d in DIGITS})
    ),
    Family(name="first", pool=LETTERS, answer=lambda items: items[:1], extra=1),
    Family(name="last", pool=LETTERS, answer=lambda items: items[-1:], extra=1),
    Family(name="reverse", pool=LETTERS, answer=lambda items: items[::-1], extra=1),
    Family(name="sort", pool=LETTERS, answer=sorted, extra=1),
    Family(name="capitals", pool=LETTERS, answer=_each(dict(zip(LETTERS, CAPITALS, strict=True)))),
    Family(name="successor", pool=LETTERS, answer=_each(_shifted(LETTERS, 1))),
    Family(name="tomorrow", pool=DAYS, answer=_each(_shifted(DAYS, 1))),
    Family(name="yesterday", pool=DAYS, answer=_each(_shifted(DAYS, -1))),
    Family(name="season", pool=MONTHS, answer=_each(dict(zip(MONTHS, SEASONS, strict=True)))),
    Family(name="dozens", pool=DIGITS, answer=_each({d: str(12 * int(d)) for d in DIGITS})),
    Family(name="weeks", pool=DIGITS, answer=_each({d: str(7 * int(d)) for d in DIGITS})),
    Family(name="minutes", pool=DIGITS, answer=_each({d: str(60 * int(d)) for d in DIGITS})),
    Family(name="city", pool=COUNTRIES, answer=_each(dict(zip(COUNTRIES, CITIES, strict=True)))),
    Family(name="colour", pool=THINGS, answer=_each(dict(zip(THINGS, COLOURS, strict=True)))),
    Family(name="opposite", pool=WORDS, answer=_each(dict(zip(WORDS, OPPOSITES, strict=True)))),
)
NOISE = ("rumour", "omen")
NAMES_OF_FAMILIES = tuple(family.name for family in FAMILIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """Training rows in a random order, and at least `TESTS` tests of every family that is scored."""

    train: list[Row]
    tests: list[Row]


def make_tasks(seed: int) -> Tasks:
    """The rows of a seed; no prompt of a test occurs in training, and none twice."""
    draw = random.Random(seed)
    sizes = zipf_sizes(len(FAMILIES))
    draw.shuffle(sizes)
    train: list[Row] = []
    tests: list[Row] = []
    for family, size in zip(FAMILIES, sizes, strict=True):
        rows = _distinct(family, size + TESTS, draw)
        tests += rows[:TESTS]
        train += rows[TESTS:]
    for name in NOISE:
        train += _distinct(_noise(name, draw), NOISE_ROWS, draw)
    draw.shuffle(train)
    return Tasks(train=train, tests=tests)


def zipf_sizes(count: int) -> list[int]:
    """Sizes from `LARGEST` to `SMALLEST`, in proportion to a power of the rank."""
    exponent = math.log(LARGEST / SMALLEST) / math.log(count)
    return [round(LARGEST / rank**exponent) for rank in range(1, count + 1)]


def _noise(name: str, draw: random.Random) -> Family:
    return Family(
        name=name, pool=LETTERS, answer=lambda items: [draw.choice(CITIES) for _ in items]
    )


def _distinct(family: Family, count: int, draw: random.Random) -> list[Row]:
    """Rows with `count` different prompts."""
    found: dict[tuple[str, ...], Row] = {}
    while len(found) < count:
        row = family.row(draw)
        found.setdefault(row.prompt, row)
    return list(found.values())
