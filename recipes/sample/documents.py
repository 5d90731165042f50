"""Small office documents to extract from, and lists to put in order."""

from random import Random

from recipes.sample.arithmetic import NAMES
from recipes.sample.record import Record

GOODS = (
    "desk lamp", "rain jacket", "coffee grinder", "garden hose", "chess set", "road map",
    "wool blanket", "bicycle pump", "water bottle", "alarm clock", "paint brush", "soup ladle",
)  # fmt: skip
STREETS = ("Harbour Street", "Mill Lane", "Station Road", "Castle Hill", "Linden Avenue")
TOWNS = ("Bergen", "Graz", "Leeds", "Turin", "Utrecht", "Malmo", "Porto", "Ghent")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
SUBJECTS = (
    "the new website", "the spring catalogue", "fire safety", "the move to another floor",
    "training for apprentices", "the summer holidays", "the price list", "a trade fair",
)  # fmt: skip
WORDS = (
    "harvest", "lantern", "orchard", "basket", "meadow", "violin", "copper", "island", "pepper",
    "ribbon", "saddle", "timber", "walnut", "anchor", "dragon", "feather", "glacier", "jungle",
)  # fmt: skip


def order(random: Random) -> Record:
    """Article, number and address out of an order."""
    name, town, street = random.choice(NAMES), random.choice(TOWNS), random.choice(STREETS)
    article, number, house = random.choice(GOODS), random.randint(2, 9), random.randint(1, 80)
    return Record(
        instruction="Extract the article, the quantity and the address from the order.",
        input=f"Hello, this is {name}. I would like to order {number} of your {article}s. Please "
        f"send them to {street} {house} in {town}. Thank you!",
        output=f"Article: {article}\nQuantity: {number}\nAddress: {street} {house}, {town}",
        source="documents",
    )


def meeting(random: Random) -> Record:
    """Who meets whom, when, and what about."""
    host, guest = random.sample(NAMES, 2)
    day, hour, subject = random.choice(DAYS), random.randint(9, 16), random.choice(SUBJECTS)
    return Record(
        instruction="Who takes part in the meeting, when is it, and what is it about?",
        input=f"Hi {guest}, are you free on {day} at {hour}:00? I want to talk with you about "
        f"{subject}. My office is fine. Best, {host}",
        output=f"{host} and {guest} take part in the meeting. It is on {day} at {hour}:00 and is "
        f"about {subject}.",
        source="documents",
    )


def sorting(random: Random) -> Record:
    """Words in alphabetical order."""
    words = random.sample(WORDS, random.randint(4, 6))
    return Record(
        instruction="Sort the words in alphabetical order.",
        input=", ".join(words),
        output="In alphabetical order the words are: " + ", ".join(sorted(words)) + ".",
        source="ordering",
    )


def ranking(random: Random) -> Record:
    """Numbers in ascending order."""
    numbers = random.sample(range(10, 999), random.randint(4, 6))
    return Record(
        instruction="Put the numbers in order, the smallest first, and name the largest.",
        input=", ".join(map(str, numbers)),
        output=f"In order the numbers are {', '.join(map(str, sorted(numbers)))}; the largest is "
        f"{max(numbers)}.",
        source="ordering",
    )


def documents(random: Random, count: int) -> list[Record]:
    """`count` records, the four kinds taking turns."""
    kinds = (order, meeting, sorting, ranking)
    return [kinds[i % len(kinds)](random) for i in range(count)]
