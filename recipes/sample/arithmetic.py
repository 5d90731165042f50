"""Word problems of primary school: a story, its numbers, and a worked answer that uses its words."""

from collections.abc import Callable
from random import Random

from recipes.sample.record import Record

NAMES = (
    "Amara", "Bruno", "Chloe", "Dmitri", "Esra", "Farid", "Greta", "Hugo", "Ines", "Jamal",
    "Kaori", "Leo", "Maja", "Nils", "Olga", "Pavel", "Rosa", "Samir", "Tilda", "Yusuf",
)  # fmt: skip
Story = Callable[[Random, str], tuple[str, str]]


def shopping(random: Random, name: str) -> tuple[str, str]:
    """Two kinds of goods, one bill."""
    first, second = random.sample(("notebooks", "pens", "apples", "candles", "postcards"), 2)
    a, b = random.randint(2, 9), random.randint(2, 9)
    p, q = random.randint(2, 6), random.randint(2, 6)
    return (
        (
            f"{name} buys {a} {first} for {p} euros each and {b} {second} for {q} euros each. "
            f"How much does {name} pay in total?"
        ),
        (
            f"The {first} cost {a} x {p} = {a * p} euros. The {second} cost {b} x {q} = {b * q} "
            f"euros. In total {name} pays {a * p} + {b * q} = {a * p + b * q} euros."
        ),
    )


def sharing(random: Random, name: str) -> tuple[str, str]:
    """A division with a remainder."""
    thing = random.choice(("marbles", "stickers", "biscuits", "seeds", "tickets"))
    friends, each, rest = random.randint(3, 8), random.randint(4, 12), random.randint(1, 2)
    total = friends * each + rest
    return (
        (
            f"{name} has {total} {thing} and shares them equally among {friends} friends. How many "
            f"{thing} does each friend get, and how many are left over?"
        ),
        (
            f"Sharing {total} {thing} equally among {friends} friends gives each friend {each} "
            f"{thing}, because {friends} x {each} = {friends * each}. Of the {thing}, {rest} "
            f"{'are' if rest > 1 else 'is'} left over."
        ),
    )


def travelling(random: Random, name: str) -> tuple[str, str]:
    """Speed times hours."""
    vehicle, speed = random.choice((("bus", 60), ("tram", 30), ("ferry", 25), ("bicycle", 18)))
    hours = random.randint(2, 6)
    return (
        (
            f"{name} travels by {vehicle} at {speed} kilometres per hour for {hours} hours. How far "
            f"does {name} get?"
        ),
        (
            f"In one hour the {vehicle} covers {speed} kilometres. In {hours} hours {name} gets "
            f"{speed} x {hours} = {speed * hours} kilometres far."
        ),
    )


def saving(random: Random, name: str) -> tuple[str, str]:
    """Weeks until a wish can be paid."""
    wish = random.choice(("a guitar", "a tent", "a skateboard", "a camera", "a telescope"))
    weekly, weeks, start = random.randint(5, 15), random.randint(4, 14), random.randint(10, 60)
    price = start + weekly * weeks
    return (
        (
            f"{name} wants to buy {wish} for {price} euros. {name} already has {start} euros and "
            f"saves {weekly} euros a week. After how many weeks can {name} buy {wish}?"
        ),
        (
            f"{name} still needs {price} - {start} = {weekly * weeks} euros. Saving {weekly} euros a "
            f"week, that takes {weekly * weeks} / {weekly} = {weeks} weeks until {name} can buy {wish}."
        ),
    )


def discount(random: Random, name: str) -> tuple[str, str]:
    """A percentage off a price."""
    thing = random.choice(("jacket", "lamp", "backpack", "radio", "carpet"))
    price, percent = random.randint(4, 20) * 20, random.choice((10, 15, 20, 25, 30))
    off = price * percent // 100
    return (
        (
            f"A {thing} costs {price} euros. In the sale it is reduced by {percent} percent. What "
            f"does {name} pay for the {thing}?"
        ),
        (
            f"{percent} percent of {price} euros are {off} euros. In the sale {name} pays "
            f"{price} - {off} = {price - off} euros for the {thing}."
        ),
    )


def garden(random: Random, name: str) -> tuple[str, str]:
    """Perimeter and area of a rectangle."""
    place = random.choice(("garden", "playground", "meadow", "courtyard"))
    a, b = random.randint(11, 30), random.randint(4, 10)
    return (
        (
            f"{name}'s rectangular {place} is {a} metres long and {b} metres wide. What are its area "
            f"and the length of a fence around it?"
        ),
        (
            f"The area of the {place} is {a} x {b} = {a * b} square metres. The fence around it is "
            f"2 x ({a} + {b}) = {2 * (a + b)} metres long."
        ),
    )


def ages(random: Random, name: str) -> tuple[str, str]:
    """Ages now and in some years."""
    relative = random.choice(("brother", "sister", "cousin", "friend"))
    age, gap, later = random.randint(6, 15), random.randint(2, 9), random.randint(3, 12)
    return (
        (
            f"{name} is {age} years old and has a {relative} who is {gap} years older. How old will "
            f"the {relative} be in {later} years?"
        ),
        (
            f"{name}'s {relative} is now {age} + {gap} = {age + gap} years old. In {later} years the "
            f"{relative} will be {age + gap} + {later} = {age + gap + later} years old."
        ),
    )


def recipe(random: Random, name: str) -> tuple[str, str]:
    """Amounts for more people."""
    dish, food = random.choice((("pancakes", "flour"), ("risotto", "rice"), ("soup", "lentils")))
    people, factor, grams = random.randint(2, 4), random.randint(2, 5), random.randint(5, 12) * 20
    guests = people * factor
    return (
        (
            f"A recipe of {dish} for {people} people needs {grams} grams of {food}. How much {food} "
            f"does {name} need to cook {dish} for {guests} people?"
        ),
        (
            f"{guests} people are {factor} times as many as {people}. So {name} needs "
            f"{factor} x {grams} = {factor * grams} grams of {food} for the {dish}."
        ),
    )


STORIES: tuple[Story, ...] = (
    shopping, sharing, travelling, saving, discount, garden, ages, recipe,
)  # fmt: skip


def word_problems(random: Random, count: int) -> list[Record]:
    """`count` problems, the stories taking turns."""
    pairs = [STORIES[i % len(STORIES)](random, random.choice(NAMES)) for i in range(count)]
    return [Record(instruction=task, output=answer, source="arithmetic") for task, answer in pairs]
