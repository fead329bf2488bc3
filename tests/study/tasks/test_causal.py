from __future__ import annotations

import re
from collections import Counter
from itertools import islice, pairwise

from t2engine.study.tasks import causal as task
from t2engine.study.tasks.causal import CAUSAL

QUESTIONS = list(islice(CAUSAL.training_questions(seed=3), 10_000))
SOURCES = {
    "fire": ("fire", "flames", "embers", "lava"),
    "water": ("rain", "water", "brine", "dew"),
    "frost": ("frost", "sleet", "hail", "rime"),
}
SOFT_THINGS = ("cloth", "paper", "rubber", "food", "wax")


def kind(prompt: str) -> str:
    if prompt.endswith("; it"):
        if " then " in prompt:
            return "chain"
        return "expose" if re.search(r" (lay|was|stood) in | never lay in ", prompt) else "fall"
    return "crash"


def becomes(thing: str, cause: str) -> str:
    (row,) = (task.OUTCOMES[material] for material, of in task.THINGS.items() if thing in of)
    return dict(zip(("blow", "fire", "water", "frost"), row, strict=True))[cause]


def cause_of(source: str) -> str:
    (cause,) = (cause for cause, sources in SOURCES.items() if source in sources)
    return cause


def solve(prompt: str) -> str:
    """The answer by the rules in words, from the words of the prompt, read backwards."""
    event, asked = prompt.split("; ")
    words = event.split(" ")
    if "never" in words or "missed" in words:
        return "was fine"
    if "packed" in words:
        return "stayed safe"
    if asked != "it":
        (other,) = {words[1], words[-1]} - {asked.removeprefix("the ")}
        soft = any(other in task.THINGS[material] for material in SOFT_THINGS)
        return "held" if soft else becomes(asked.removeprefix("the "), "blow")
    if "then" in words:
        thing, first, second = words[1], cause_of(words[-3]), cause_of(words[-1])
        if becomes(thing, first) in ("burned", "melted"):
            return "was gone"
        pairs = {"water fire": "steamed", "fire water": "hissed", "frost fire": "thawed"}
        return pairs.get(f"{first} {second}", becomes(thing, second))
    (thing,) = set(words) & {thing for things in task.THINGS.values() for thing in things}
    if " in " not in event:
        ground = words[-1]
        soft = ground in ("grass", "hay", "sand", "moss", "foam", "straw")
        return "lay still" if soft else becomes(thing, "blow")
    if "wet" in words and cause_of(words[-1]) == "fire":
        return "steamed"
    return becomes(thing, cause_of(words[-1]))


def without(event: str, *words: str) -> str:
    return " ".join(word for word in event.split(" ") if word not in words)


def test_answers_follow_the_rules():
    for question in QUESTIONS:
        assert question.answer == question.completion == solve(question.prompt), question.prompt


def test_every_thing_is_of_one_material_and_is_asked_about():
    things = [thing for of in task.THINGS.values() for thing in of]
    assert len(things) == len(set(things)) == len(task.MATERIALS)
    assert not set(things) & {*task.GROUNDS, *task.SOURCES}
    said = {word for question in QUESTIONS for word in re.findall(r"\w+", question.prompt)}
    assert set(things) <= said
    assert set(task.GROUNDS) | set(task.SOURCES) <= said


def test_states_but_packed_and_wet_change_nothing():
    for state in ("old", "big", "red", "new", "odd"):
        with_it = [q for q in QUESTIONS if f" {state} " in q.prompt]
        assert len(with_it) > 50
        for question in with_it:
            assert solve(without(question.prompt, state)) == question.answer


def test_gold_completion_is_right_and_others_are_not():
    for question, other in pairwise(QUESTIONS):
        assert task.check(question, question.completion)
        assert not task.check(question, question.completion + " ")
        assert not task.check(question, "it " + question.completion)
        assert not task.check(question, "")
        assert task.check(question, other.completion) == (question.answer == other.answer)


def test_lengths_and_symbols_stay_within_bounds():
    assert max(len(question.prompt) for question in QUESTIONS) <= 40
    assert longest_prompt() <= 40
    longest = max(len(question.completion) for question in QUESTIONS)
    assert longest + 1 == CAUSAL.max_tokens == task.COMPLETION_TOKENS
    assert {s for q in QUESTIONS for s in q.prompt + q.completion} <= set(task.SYMBOLS)


def longest_prompt() -> int:
    """Of all prompts, by the longest of each part."""
    thing, ground = max(task.MATERIALS, key=len), max(task.GROUNDS, key=len)
    source, state = max(task.SOURCES, key=len), task.PACKED
    fall = f"a {state}{thing} {max(task.FALLS, key=len)} {ground}; it"
    expose = f"a {state}{thing} {max(task.STAYS, key=len)} {source}; it"
    chain = f"an {thing} lay in {source} then {source}; it"
    crash = f"an {thing} {max(task.CRASHES, key=len)} an {thing}; the {thing}"
    return max(map(len, (fall, expose, chain, crash)))


def test_every_kind_occurs_with_many_answers():
    for name in ("fall", "expose", "chain", "crash"):
        answers = Counter(q.answer for q in QUESTIONS if kind(q.prompt) == name)
        assert sum(answers.values()) > len(QUESTIONS) / 5
        assert len(answers) >= 9


def test_no_answer_can_be_guessed():
    ((_, most),) = Counter(question.answer for question in QUESTIONS).most_common(1)
    assert most < len(QUESTIONS) / 5
