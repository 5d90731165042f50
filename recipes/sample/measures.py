"""Conversions between units, in several wordings."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random

from recipes.sample.record import Record


@dataclass(frozen=True, slots=True)
class Conversion:
    """One unit in another: `factor` of the second make one of the first."""

    one: str
    first: str
    second: str
    factor: Decimal
    amounts: tuple[int, ...]


CONVERSIONS = (
    Conversion("One kilometre", "kilometres", "metres", Decimal(1000), (3, 7, 12, 45)),
    Conversion("One hour", "hours", "minutes", Decimal(60), (2, 4, 9, 24)),
    Conversion("One kilogram", "kilograms", "grams", Decimal(1000), (2, 5, 8, 31)),
    Conversion("One mile", "miles", "kilometres", Decimal("1.609"), (3, 10, 26, 50)),
    Conversion("One inch", "inches", "centimetres", Decimal("2.54"), (5, 8, 12, 40)),
    Conversion("One pound", "pounds", "kilograms", Decimal("0.4536"), (5, 20, 75, 150)),
    Conversion("One litre", "litres", "millilitres", Decimal(1000), (2, 6, 15, 33)),
    Conversion("One week", "weeks", "days", Decimal(7), (3, 6, 13, 52)),
    Conversion("One foot", "feet", "metres", Decimal("0.3048"), (6, 20, 100, 300)),
    Conversion("One hectare", "hectares", "square metres", Decimal(10000), (2, 4, 11, 25)),
)
WORDINGS = (
    (
        "Convert {n} {first} to {second}.",
        "{one} equals {factor} {second}, so {n} {first} are {n} x {factor} = {result} {second}.",
    ),
    (
        "How many {second} are {n} {first}?",
        "{one} equals {factor} {second}. {n} {first} are therefore {result} {second}.",
    ),
    (
        "I have {n} {first}. What is that in {second}?",
        "You have {n} {first}, and {n} {first} are {result} {second}: multiply by {factor}.",
    ),
    (
        "Express {n} {first} in {second} and show the calculation.",
        "Calculation: {n} {first} x {factor} = {result} {second}.",
    ),
)


def conversions(random: Random) -> list[Record]:
    """Every conversion with each of its amounts, worded at random."""
    return [
        _record(conversion, amount, *random.choice(WORDINGS))
        for conversion in CONVERSIONS
        for amount in conversion.amounts
    ]


def _record(conversion: Conversion, amount: int, task: str, answer: str) -> Record:
    words = {
        "n": amount,
        "one": conversion.one,
        "first": conversion.first,
        "second": conversion.second,
        "factor": conversion.factor,
        "result": f"{amount * conversion.factor:f}",
    }
    return Record(
        instruction=task.format(**words), output=answer.format(**words), source="measures"
    )
