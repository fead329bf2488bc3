"""Simple knowledge: facts about the people of an invented world, which is the same everywhere.

    prompt  well, the town of kimo is      completion  daltun

A person has a home, a craft, a pet and a mother, and each of these facts is asked in six ways, with
an opening word or none. The hash of the prompt holds out some ways of some facts: a held-out
question asks in one way for what training tells in others. A few people are spoken of all the time
and most of them rarely: person m with a probability near 1/m. Frequent facts are learnt first and
rare ones late or never, and no rule gives one fact from another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from t2engine.study.tasks.draws import draw_even, draw_zipf
from t2engine.study.tasks.task import GeneratedTask, Question

SYMBOLS = " abcdefghijklmnopqrstuvwxyz?,:"
CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"
ENDINGS = ("ton", "dal", "burg", "wick")

NUM_PEOPLE = 400
NUM_TOWNS = 64
CRAFTS = (
    *(
        "baker",
        "smith",
        "weaver",
        "potter",
        "miller",
        "tailor",
        "mason",
        "cook",
        "farmer",
        "sailor",
    ),
    *("carter", "fisher", "hunter", "glazier", "tanner", "cooper", "painter", "barber", "clerk"),
    *("doctor", "singer", "dancer", "poet", "judge", "guard", "nurse", "porter", "printer"),
    *("roofer", "teacher", "pilot", "gardener"),
)
PETS = (
    *("cat", "dog", "goat", "hen", "pony", "sheep", "duck", "goose", "rabbit", "mouse", "parrot"),
    *("snake", "turtle", "donkey", "pig", "cow", "ferret", "lizard", "pigeon", "otter", "owl"),
    *("camel", "swan", "frog"),
)
OPENINGS = ("", "so ", "well, ", "now ", "and ", "say, ")
# The four facts, in the order of Person.facts, and the ways to ask for each after an opening.
PHRASINGS = {
    "home": (
        *("{} lives in", "home of {}:", "where is {}?"),
        *("{}, town:", "the town of {} is", "{} is at home in"),
    ),
    "craft": (
        *("{} works as a", "craft of {}:", "what does {} do?"),
        *("{}, craft:", "the job of {} is", "{} is paid as a"),
    ),
    "pet": (
        *("{} keeps a", "pet of {}:", "what pet has {}?"),
        *("{}, pet:", "the animal of {} is", "{} feeds a"),
    ),
    "mother": (
        *("{} is a child of", "mother of {}:", "who raised {}?"),
        *("{}, mother:", "the mother of {} is", "{} was born to"),
    ),
}


@dataclass(frozen=True)
class Person:
    name: str
    facts: tuple[str, ...]  # one for each entry of PHRASINGS


def build_people() -> tuple[Person, ...]:
    """The world, most spoken of first. All its names differ, towns included."""
    rng = random.Random("the world of simple knowledge")
    towns = draw_names(rng, NUM_TOWNS, ENDINGS, 1)
    names = draw_names(rng, NUM_PEOPLE, ("",), 2)
    values = (towns, CRAFTS, PETS, names)
    return tuple(
        Person(name, tuple(draw_even(rng, options) for options in values)) for name in names
    )


def draw_names(
    rng: random.Random, count: int, endings: tuple[str, ...], syllables: int
) -> tuple[str, ...]:
    """Different names of `syllables` or one more, and an ending."""
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        length = syllables + int(rng.random() * 2)
        parts = [draw_even(rng, CONSONANTS) + draw_even(rng, VOWELS) for _ in range(length)]
        chosen.setdefault("".join(parts) + draw_even(rng, endings))
    return tuple(chosen)


def check(question: Question, completion: str) -> bool:
    return completion == question.answer


def draw_question(rng: random.Random) -> Question:
    person = draw_zipf(rng, PEOPLE)
    answer, phrasings = draw_even(rng, tuple(zip(person.facts, PHRASINGS.values(), strict=True)))
    prompt = draw_zipf(rng, OPENINGS) + draw_even(rng, phrasings).format(person.name)
    return Question(prompt, answer, answer)


PEOPLE = build_people()
COMPLETION_TOKENS = 1 + max(len(fact) for person in PEOPLE for fact in person.facts)
KNOWLEDGE = GeneratedTask("knowledge", draw_question, check, COMPLETION_TOKENS)
