"""Spatial reasoning: walks on a grid of ten by ten with walls that are never shown, and directions.

    walk       prompt  34 n2e3s1=      completion  36 66 65
    turtle     prompt  34 n 2l3r1=     completion  36 06 07
    direction  prompt  34>72=          completion  e4s2

A place is its column and its row, counted from 0 in the south-west. A walk goes so many places
north, east, south or west; a turtle starts with a heading, goes forward by a number and turns left
(l) or right (r) at once. Both stop at the edge and in front of a wall. Their completion is the
place after every move, the last of which is the answer. A direction says how to get from one place
to the other, east or west first, as a bird flies: `here` when they are one.

Small numbers are common and large ones rare, and more moves are harder than few.
"""

from __future__ import annotations

import random

from t2engine.study.tasks.draws import draw_even, draw_zipf
from t2engine.study.tasks.task import GeneratedTask, Question

SIZE = 10
DIGITS = "0123456789"
HEADINGS = "nesw"  # clockwise, so that a turn to the right is one further
STEPS = {"n": (0, 1), "e": (1, 0), "s": (0, -1), "w": (-1, 0)}
TURNS = {"l": -1, "r": 1}
SYMBOLS = DIGITS + HEADINGS + "lrh" + ">= "
# Columns and rows; no place is shut in.
WALLS = frozenset({(1, 3), (2, 3), (3, 1), (4, 6), (4, 7), (6, 2), (6, 4), (7, 8), (8, 5)})

MAX_MOVES = 4
COMPLETION_TOKENS = 3 * MAX_MOVES  # a place and a space or the end, each

Place = tuple[int, int]


def last_place(completion: str) -> str:
    return completion.rsplit(" ", 1)[-1]


def check(question: Question, completion: str) -> bool:
    """Whether a completion ends in the right answer; the places on the way are not looked at."""
    return last_place(completion) == question.answer


def draw_question(rng: random.Random) -> Question:
    return draw_even(rng, (draw_walk, draw_walk, draw_turtle, draw_direction))(rng)


def draw_walk(rng: random.Random) -> Question:
    start = draw_start(rng)
    moves = [(draw_even(rng, HEADINGS), draw_distance(rng)) for _ in range(draw_length(rng))]
    text = "".join(f"{heading}{distance}" for heading, distance in moves)
    return walk_question(f"{name(start)} {text}=", start, moves)


def draw_turtle(rng: random.Random) -> Question:
    start, heading = draw_start(rng), draw_even(rng, HEADINGS)
    moves = [(heading, draw_distance(rng))]
    text = f"{heading} {moves[0][1]}"
    for _ in range(draw_length(rng) - 1):
        turn = draw_even(rng, "lr")
        heading = HEADINGS[(HEADINGS.index(heading) + TURNS[turn]) % len(HEADINGS)]
        moves.append((heading, draw_distance(rng)))
        text += f"{turn}{moves[-1][1]}"
    return walk_question(f"{name(start)} {text}=", start, moves)


def draw_direction(rng: random.Random) -> Question:
    here, there = draw_start(rng), draw_start(rng)
    east, north = there[0] - here[0], there[1] - here[1]
    answer = f"{'e' if east > 0 else 'w'}{abs(east)}" if east else ""
    answer += f"{'n' if north > 0 else 's'}{abs(north)}" if north else ""
    return Question(f"{name(here)}>{name(there)}=", answer or "here", answer or "here")


def walk_question(prompt: str, start: Place, moves: list[tuple[str, int]]) -> Question:
    places = [start]
    for heading, distance in moves:
        places.append(walk(places[-1], heading, distance))
    return Question(prompt, " ".join(map(name, places[1:])), name(places[-1]))


def walk(place: Place, heading: str, distance: int) -> Place:
    """Where a walk ends: `distance` further, or in front of the edge or a wall."""
    east, north = STEPS[heading]
    for _ in range(distance):
        ahead = (place[0] + east, place[1] + north)
        if not is_free(ahead):
            break
        place = ahead
    return place


def is_free(place: Place) -> bool:
    return min(place) >= 0 and max(place) < SIZE and place not in WALLS


def draw_start(rng: random.Random) -> Place:
    """A free place, by rejection; its column and its row are small more often than large."""
    while True:
        place = (draw_zipf(rng, range(SIZE)), draw_zipf(rng, range(SIZE)))
        if is_free(place):
            return place


def draw_distance(rng: random.Random) -> int:
    return draw_zipf(rng, range(1, SIZE))


def draw_length(rng: random.Random) -> int:
    return draw_even(rng, range(1, MAX_MOVES + 1))


def name(place: Place) -> str:
    return f"{place[0]}{place[1]}"


SPATIAL = GeneratedTask("spatial", draw_question, check, COMPLETION_TOKENS)
