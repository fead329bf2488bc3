"""Commonsense causes: what becomes of a thing, by what it is made of and what happens to it.

    fall    prompt  a big vase fell on stone; it         completion  shattered
    expose  prompt  a wet book lay in fire; it           completion  steamed
    chain   prompt  a spoon lay in fire then rain; it    completion  hissed
    crash   prompt  a ball hit a mirror; the mirror      completion  held

The rules: a hard ground or a hard thing gives a blow; on a soft ground a thing lay still, and
against a soft thing it held. What was never touched is fine, else what is packed stayed safe; wet
things steam in fire. In a chain, what burned or melted is gone, the pairs in SEQUELS have an
outcome of their own, and otherwise the second event decides. A thing's material is never said; it
shows in what happens to the thing. Things, grounds and sources at the front of their lists are
common and those at the end rare.
"""

from __future__ import annotations

import random

from t2engine.study.tasks.draws import draw_even, draw_zipf
from t2engine.study.tasks.task import GeneratedTask, Question

SYMBOLS = " abcdefghijklmnopqrstuvwxyz;"

THINGS = {
    "glass": ("cup", "vase", "lamp", "jar", "mirror", "bulb", "lens", "bottle"),
    "cloth": ("coat", "sock", "flag", "scarf", "shirt", "sail", "towel", "tent"),
    "wood": ("box", "chair", "table", "stool", "crate", "drum", "flute", "plank"),
    "metal": ("key", "nail", "spoon", "coin", "pan", "bell", "chain", "bucket"),
    "paper": ("book", "map", "card", "letter", "kite", "ticket", "poster", "stamp"),
    "rubber": ("ball", "tyre", "boot", "glove", "hose", "eraser", "raft", "band"),
    "food": ("egg", "pie", "cake", "pear", "tomato", "plum", "melon", "bun"),
    "clay": ("pot", "tile", "brick", "mug", "urn", "bowl", "plate", "jug"),
    "wax": ("candle", "crayon", "seal", "taper", "votive", "pastel", "tablet", "doll"),
    "ice": ("icicle", "igloo", "floe", "berg", "rink", "icecap", "sorbet", "cube"),
}
MATERIALS = {thing: material for material, things in THINGS.items() for thing in things}
THINGS_BY_FREQUENCY = tuple(
    thing for things in zip(*THINGS.values(), strict=True) for thing in things
)
HARD = ("glass", "wood", "metal", "clay", "ice")

# What becomes of a material by a blow, fire, water and frost.
CAUSES = ("blow", "fire", "water", "frost")
OUTCOMES = {
    "glass": ("shattered", "blackened", "shone", "cracked"),
    "cloth": ("crumpled", "burned", "dripped", "stiffened"),
    "wood": ("splintered", "burned", "swelled", "creaked"),
    "metal": ("dented", "glowed", "rusted", "shrank"),
    "paper": ("crumpled", "burned", "tore", "curled"),
    "rubber": ("bounced", "stank", "floated", "stiffened"),
    "food": ("squashed", "cooked", "rotted", "froze"),
    "clay": ("chipped", "hardened", "darkened", "cracked"),
    "wax": ("chipped", "melted", "floated", "hardened"),
    "ice": ("shattered", "melted", "melted", "grew"),
}
UNTOUCHED, SAFE, LANDED, HELD = "was fine", "stayed safe", "lay still", "held"
GONE, STEAMED = "was gone", "steamed"
CONSUMED = ("burned", "melted")  # nothing is left for a second event
SEQUELS = {("water", "fire"): STEAMED, ("fire", "water"): "hissed", ("frost", "fire"): "thawed"}

GROUNDS = (
    *("stone", "grass", "rock", "tiles", "hay", "cement", "iron", "sand"),
    *("slate", "steel", "moss", "marble", "granite", "foam", "basalt", "straw"),
)
SOFT_GROUNDS = ("grass", "hay", "sand", "moss", "foam", "straw")
SOURCES = {
    **{"fire": "fire", "rain": "water", "frost": "frost", "flames": "fire", "water": "water"},
    **{"sleet": "frost", "embers": "fire", "brine": "water", "hail": "frost", "lava": "fire"},
    **{"dew": "water", "rime": "frost"},
}
SOURCES_BY_FREQUENCY = tuple(SOURCES)
PACKED, WET = "packed ", "wet "
STATES = ("", "old ", "big ", PACKED, "red ", WET, "new ", "odd ")
FALLS = ("fell on", "hit", "struck", "never hit", "flew at", "just missed")
STAYS = ("lay in", "was in", "never lay in", "stood in")
CRASHES = ("hit", "bumped", "missed", "met")
HARMLESS = ("never hit", "just missed", "never lay in", "missed")


def outcome(thing: str, cause: str) -> str:
    return OUTCOMES[MATERIALS[thing]][CAUSES.index(cause)]


def check(question: Question, completion: str) -> bool:
    return completion == question.answer


def draw_question(rng: random.Random) -> Question:
    prompt, answer = draw_even(rng, (draw_fall, draw_expose, draw_chain, draw_crash))(rng)
    return Question(prompt, answer, answer)


def draw_fall(rng: random.Random) -> tuple[str, str]:
    thing, ground = draw_zipf(rng, THINGS_BY_FREQUENCY), draw_zipf(rng, GROUNDS)
    state, verb = draw_zipf(rng, STATES), draw_zipf(rng, FALLS)
    answer = LANDED if ground in SOFT_GROUNDS else outcome(thing, "blow")
    return f"{article(state + thing)} {verb} {ground}; it", spare(state, verb, answer)


def draw_expose(rng: random.Random) -> tuple[str, str]:
    thing, source = draw_zipf(rng, THINGS_BY_FREQUENCY), draw_zipf(rng, SOURCES_BY_FREQUENCY)
    state, verb = draw_zipf(rng, STATES), draw_zipf(rng, STAYS)
    answer = outcome(thing, SOURCES[source])
    if state == WET and SOURCES[source] == "fire":
        answer = STEAMED
    return f"{article(state + thing)} {verb} {source}; it", spare(state, verb, answer)


def draw_chain(rng: random.Random) -> tuple[str, str]:
    thing = draw_zipf(rng, THINGS_BY_FREQUENCY)
    first, second = (draw_zipf(rng, SOURCES_BY_FREQUENCY) for _ in range(2))
    causes = SOURCES[first], SOURCES[second]
    answer = SEQUELS.get(causes, outcome(thing, causes[1]))
    if outcome(thing, causes[0]) in CONSUMED:
        answer = GONE
    return f"{article(thing)} lay in {first} then {second}; it", answer


def draw_crash(rng: random.Random) -> tuple[str, str]:
    """One of two different things is asked for, and the other gives the blow if it is hard."""
    mover, target = (draw_zipf(rng, THINGS_BY_FREQUENCY) for _ in range(2))
    if mover == target:
        return draw_crash(rng)
    verb = draw_zipf(rng, CRASHES)
    asked, other = draw_even(rng, ((target, mover), (mover, target)))
    answer = outcome(asked, "blow") if MATERIALS[other] in HARD else HELD
    return f"{article(mover)} {verb} {article(target)}; the {asked}", spare("", verb, answer)


def spare(state: str, verb: str, answer: str) -> str:
    """The answer, unless nothing touched the thing or it was packed."""
    if verb in HARMLESS:
        return UNTOUCHED
    return SAFE if state == PACKED else answer


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


COMPLETION_TOKENS = 1 + max(map(len, (SAFE, *(word for row in OUTCOMES.values() for word in row))))
CAUSAL = GeneratedTask("causal", draw_question, check, COMPLETION_TOKENS)
