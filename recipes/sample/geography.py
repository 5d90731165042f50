"""Countries: capitals, continents, rivers and languages, asked in turn."""

from random import Random
from typing import NamedTuple

from recipes.sample.record import Record


class Country(NamedTuple):
    """What the questions are about."""

    name: str
    capital: str
    continent: str
    language: str
    landmark: str


COUNTRIES = (
    Country("France", "Paris", "Europe", "French", "the river Loire"),
    Country("Japan", "Tokyo", "Asia", "Japanese", "Mount Fuji"),
    Country("Egypt", "Cairo", "Africa", "Arabic", "the pyramids of Giza"),
    Country("Brazil", "Brasília", "South America", "Portuguese", "the mouth of the Amazon"),
    Country("Canada", "Ottawa", "North America", "English and French", "Great Bear Lake"),
    Country("Kenya", "Nairobi", "Africa", "Swahili and English", "the Masai Mara"),
    Country("Norway", "Oslo", "Europe", "Norwegian", "the Geirangerfjord"),
    Country("Peru", "Lima", "South America", "Spanish", "Machu Picchu"),
    Country("Vietnam", "Hanoi", "Asia", "Vietnamese", "Ha Long Bay"),
    Country("Portugal", "Lisbon", "Europe", "Portuguese", "the Douro valley"),
    Country("Mongolia", "Ulaanbaatar", "Asia", "Mongolian", "the Gobi desert"),
    Country("Ghana", "Accra", "Africa", "English", "Lake Volta"),
    Country("Mexico", "Mexico City", "North America", "Spanish", "Chichén Itzá"),
    Country("Poland", "Warsaw", "Europe", "Polish", "the Wieliczka salt mine"),
    Country("Thailand", "Bangkok", "Asia", "Thai", "the ruins of Ayutthaya"),
    Country("Morocco", "Rabat", "Africa", "Arabic and Berber", "the High Atlas"),
    Country("Iceland", "Reykjavík", "Europe", "Icelandic", "the Vatnajökull glacier"),
    Country("Argentina", "Buenos Aires", "South America", "Spanish", "Mount Aconcagua"),
    Country("Greece", "Athens", "Europe", "Greek", "Mount Olympus"),
    Country("Nepal", "Kathmandu", "Asia", "Nepali", "the monastery of Tengboche"),
    Country("Tanzania", "Dodoma", "Africa", "Swahili and English", "Mount Kilimanjaro"),
    Country("Cuba", "Havana", "North America", "Spanish", "the Viñales valley"),
    Country("Finland", "Helsinki", "Europe", "Finnish and Swedish", "Lake Saimaa"),
    Country("Jordan", "Amman", "Asia", "Arabic", "the rock city of Petra"),
    Country("Chile", "Santiago", "South America", "Spanish", "the Atacama desert"),
    Country("Ireland", "Dublin", "Europe", "Irish and English", "the Cliffs of Moher"),
    Country("Cambodia", "Phnom Penh", "Asia", "Khmer", "the temples of Angkor"),
    Country("Ethiopia", "Addis Ababa", "Africa", "Amharic", "the churches of Lalibela"),
)  # fmt: skip
QUESTIONS = (
    (
        "What is the capital of {name}?",
        "The capital of {name} is {capital}. {name} lies in {continent}.",
    ),
    (
        "On which continent does {name} lie, and which city is its capital?",
        "{name} lies in {continent}, and its capital is the city of {capital}.",
    ),
    (
        "In which country can a traveller visit {landmark}?",
        "A traveller can visit {landmark} in {name}. The capital of the country is {capital}.",
    ),
    (
        "Which official languages would a visitor to {capital} hear?",
        "{capital} is the capital of {name}, so a visitor to {capital} would hear {language}.",
    ),
    (
        "Write one sentence for a travel guide about {name} that mentions {landmark}.",
        (
            "Whoever travels to {name} should see {landmark} before the crowds arrive and then spend "
            "a few days in {capital}, the lively capital."
        ),
    ),
)


def questions(random: Random) -> list[Record]:
    """Two different questions about every country."""
    return [
        Record(
            instruction=task.format(**country._asdict()),
            output=answer.format(**country._asdict()),
            source="geography",
        )
        for country in COUNTRIES
        for task, answer in random.sample(QUESTIONS, 2)
    ]
