from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from t2engine.study.tasks import knowledge as task
from t2engine.study.tasks.knowledge import KNOWLEDGE, PEOPLE, PHRASINGS
from t2engine.study.tasks.task import is_held_out

QUESTIONS = list(islice(KNOWLEDGE.training_questions(seed=3), 20_000))
# Which fact a prompt asks for, by a word of it; a craft by none of the others'.
WORDS = {
    "home": ("lives in", "home", "where", "town"),
    "pet": ("pet", "keeps", "animal", "feeds"),
    "mother": ("child", "mother", "raised", "born"),
}


def asks_for(prompt: str) -> str:
    relations = [name for name, words in WORDS.items() if any(word in prompt for word in words)]
    assert len(relations) <= 1
    return relations[0] if relations else "craft"


def asks_about(prompt: str) -> str:
    """The word that no phrasing has."""
    (name,) = set(prompt.strip("?:").replace(",", "").split()) & {person.name for person in PEOPLE}
    return name


def test_all_ways_to_ask_for_a_fact_have_one_answer():
    facts: dict[tuple[str, str], str] = {}
    for question in QUESTIONS[:3000] + KNOWLEDGE.held_out_questions(300, 0):
        key = asks_about(question.prompt), asks_for(question.prompt)
        assert facts.setdefault(key, question.answer) == question.answer


def test_no_two_prompts_of_the_world_are_alike():
    prompts = [
        opening + way.format(person.name)
        for person in PEOPLE
        for ways in PHRASINGS.values()
        for way in ways
        for opening in task.OPENINGS
    ]
    assert len(set(prompts)) == 36 * 4 * len(PEOPLE)
    assert sum(map(is_held_out, prompts)) > 3000


def test_names_differ_and_are_no_words_of_the_questions():
    towns = {person.facts[0] for person in PEOPLE}
    names = {person.name for person in PEOPLE}
    ways = [*task.OPENINGS, *(way for ways in PHRASINGS.values() for way in ways)]
    words = {word.strip(",:?") for way in ways for word in way.split()}
    assert len(names) == task.NUM_PEOPLE
    assert len(towns) == task.NUM_TOWNS
    assert not names & (towns | set(task.CRAFTS) | set(task.PETS) | words)
    assert {person.facts[3] for person in PEOPLE} <= names  # a mother is a person


def test_every_fact_is_told_in_training():
    """What is held out is a way to ask: at least two others of the same fact are not."""
    for person in PEOPLE:
        for ways in PHRASINGS.values():
            told = [way for way in ways if not is_held_out(way.format(person.name))]
            assert len(told) >= 2


def test_held_out_facts_are_told_in_other_words():
    told = {(asks_about(q.prompt), asks_for(q.prompt)): q.answer for q in QUESTIONS}
    held_out = KNOWLEDGE.held_out_questions(100, 1)
    answered = [told.get((asks_about(q.prompt), asks_for(q.prompt))) for q in held_out]
    assert all(answer in (None, q.answer) for answer, q in zip(answered, held_out, strict=True))
    assert answered.count(None) < 20  # which this short training does not come to


def test_gold_completion_is_right_and_others_are_not():
    for question in QUESTIONS[:500]:
        assert question.completion == question.answer
        assert task.check(question, question.completion)
        for wrong in ("", question.answer + " ", question.answer[:-1], question.answer + "a"):
            assert not task.check(question, wrong)


def test_lengths_and_symbols_stay_within_bounds():
    assert max(len(question.prompt) for question in QUESTIONS) <= 40
    longest = max(len(question.completion) for question in QUESTIONS)
    assert longest + 1 == task.COMPLETION_TOKENS == KNOWLEDGE.max_tokens
    assert {s for q in QUESTIONS for s in q.prompt + q.completion} <= set(task.SYMBOLS)


def test_a_few_people_are_asked_about_often_and_most_rarely():
    asked = Counter(asks_about(question.prompt) for question in QUESTIONS[:5000])
    first = sum(asked[person.name] for person in PEOPLE[:19])  # log 20 is half of log 401
    assert first == pytest.approx(2500, rel=0.05)
    assert len(asked) > 300


def test_no_answer_can_be_guessed():
    ((_, most),) = Counter(question.answer for question in QUESTIONS).most_common(1)
    assert most < len(QUESTIONS) / 20
    asked = Counter(asks_for(question.prompt) for question in QUESTIONS)
    assert min(asked.values()) > len(QUESTIONS) / 5


def test_every_way_to_ask_occurs():
    rng = random.Random(2)
    asked = Counter(
        (asks_for(prompt), prompt.replace(asks_about(prompt), "{}"))
        for prompt in (task.draw_question(rng).prompt for _ in range(10_000))
    )
    assert set(asked) == {
        (name, opening + way)
        for name, ways in PHRASINGS.items()
        for way in ways
        for opening in task.OPENINGS
    }
    assert min(asked.values()) > 10
