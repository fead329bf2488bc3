from __future__ import annotations

import re
from collections import Counter
from itertools import islice, pairwise

from t2engine.study.tasks import spatial as task
from t2engine.study.tasks.spatial import SPATIAL

QUESTIONS = list(islice(SPATIAL.training_questions(seed=3), 4000))
# North is up; # is a wall.
MAP = """\
..........
.......#..
....#.....
....#.....
........#.
......#...
.##.......
......#...
...#......
..........
""".splitlines()


def kind(prompt: str) -> str:
    if ">" in prompt:
        return "direction"
    return "turtle" if re.match(r"\d\d [nesw] ", prompt) else "walk"


def follow(prompt: str) -> list[str]:
    """The places of a walk on the map, as complex numbers that a turn multiplies."""
    start, *words = prompt[:-1].split(" ")
    place = complex(int(start[0]), int(start[1]))
    headings = {"n": 1j, "e": 1, "s": -1j, "w": -1}
    if len(words) == 2:
        ahead, moves = headings[words[0]], re.findall(r"([lr]?)(\d)", words[1])
    else:
        ahead, moves = 1, re.findall(r"([nesw])(\d)", words[0])
    places = []
    for turn, distance in moves:
        ahead = headings.get(turn, ahead * {"l": 1j, "r": -1j}.get(turn, 1))
        for _ in range(int(distance)):
            column, row = int((place + ahead).real), int((place + ahead).imag)
            if column in range(10) and row in range(10) and MAP[9 - row][column] == ".":
                place += ahead
        places.append(f"{int(place.real)}{int(place.imag)}")
    return places


def move_as_a_bird(prompt: str, answer: str) -> bool:
    column, row, there = int(prompt[0]), int(prompt[1]), prompt[3:5]
    for heading, distance in re.findall(r"([nesw])(\d)", answer):
        column += {"e": 1, "w": -1}.get(heading, 0) * int(distance)
        row += {"n": 1, "s": -1}.get(heading, 0) * int(distance)
    return f"{column}{row}" == there


def test_walks_and_turtles_end_where_the_map_says():
    for question in QUESTIONS:
        if kind(question.prompt) != "direction":
            assert question.completion.split(" ") == follow(question.prompt)
            assert question.answer == follow(question.prompt)[-1]


def test_directions_lead_from_one_place_to_the_other():
    for question in QUESTIONS:
        if kind(question.prompt) == "direction":
            assert move_as_a_bird(question.prompt, question.answer)
            assert re.fullmatch(r"here|([ew][1-9])?([ns][1-9])?", question.answer)
            assert (question.answer == "here") == (question.prompt[:2] == question.prompt[3:5])


def test_no_walk_starts_or_ends_in_a_wall_and_some_stop_at_one():
    stopped = 0
    for question in QUESTIONS:
        places = re.findall(r"\d\d", question.prompt)[:1]
        if kind(question.prompt) != "direction":
            places += question.completion.split(" ")
        assert all(MAP[9 - int(row)][int(column)] == "." for column, row in places)
        stopped += len(places) > 1 and any(one == other for one, other in pairwise(places))
    assert stopped > len(QUESTIONS) / 20


def test_gold_completion_is_right_and_others_are_not():
    for question, other in pairwise(QUESTIONS):
        assert task.check(question, question.completion)
        assert task.check(question, "zz " + question.completion)  # only the last place counts
        assert not task.check(question, question.completion + "0")
        assert not task.check(question, question.completion + " ")
        assert not task.check(question, "")
        assert task.check(question, other.completion) == (question.answer == other.answer)


def test_lengths_and_symbols_stay_within_bounds():
    assert max(len(question.prompt) for question in QUESTIONS) <= 40
    longest = max(len(question.completion) for question in QUESTIONS)
    assert longest + 1 == task.COMPLETION_TOKENS == SPATIAL.max_tokens
    assert {s for q in QUESTIONS for s in q.prompt + q.completion} == set(task.SYMBOLS)
    assert len(set(task.SYMBOLS)) == len(task.SYMBOLS)


def test_every_kind_and_every_number_of_moves_occurs():
    kinds = Counter(kind(question.prompt) for question in QUESTIONS)
    assert min(kinds.values()) > len(QUESTIONS) / 5
    moves = Counter(
        question.completion.count(" ") + 1
        for question in QUESTIONS
        if kind(question.prompt) != "direction"
    )
    assert set(moves) == set(range(1, task.MAX_MOVES + 1))
    assert min(moves.values()) > sum(moves.values()) / 6


def test_no_answer_can_be_guessed():
    for name in ("walk", "turtle", "direction"):
        answers = Counter(q.answer for q in QUESTIONS if kind(q.prompt) == name)
        ((_, most),) = answers.most_common(1)
        assert most < sum(answers.values()) / 8
