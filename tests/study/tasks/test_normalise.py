from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2engine.study.tasks.normalise import (
    ends_the_same,
    is_same,
    is_same_line,
    is_same_word,
    normalise,
)

SAME = [
    ("The Moon.", "moon"),
    (" an  electric\tcircuit", "Electric Circuit!"),
    ("the sun, the sea", "sun sea"),
    ("1,000", "1000"),
    ("“quoted”", "'quoted'"),
    ("cafe\u0301", "café"),
    ("STRASSE", "straße"),
    ("−5", "-5"),
    ("3.5 m", "3.5 m."),
    ("A", "a"),
    ("$5", "5"),
]
DIFFERENT = [
    ("1.5", "15"),
    ("-5", "5"),
    ("moon", "moons"),
    ("theory", "ory"),  # an article is a whole word
    ("A", ""),
    ("+", "-"),
    ("a", "the"),
    ("-.5", ".5"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_does_not_matter(one: str, other: str):
    assert is_same(one, other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_does_matter(one: str, other: str):
    assert not is_same(one, other)


@given(st.text(max_size=30))
def test_nothing_is_lost_that_has_a_word_and_no_edge_has_space(text: str):
    found = normalise(text)
    assert bool(found) == bool(text.split())
    assert found == " ".join(found.split())


@given(st.text(alphabet="ab the.,-5!\n\t", max_size=20))
def test_case_and_white_space_never_matter(text: str):
    assert is_same(text, text.upper().replace(" ", "  ") + "\n")


def test_the_first_line_counts_and_what_follows_does_not():
    assert is_same_line("the moon", "\n Moon.\nQuestion: what else?")
    assert not is_same_line("moon", "moon and sun\n")
    assert not is_same_line("moon", "sun\nmoon")
    assert not is_same_line("moon", " \n ")


def test_the_first_word_counts():
    assert is_same_word("moon", " Moon, she said")
    assert not is_same_word("moon", "the moon")
    assert not is_same_word("moon", "")


def test_the_last_words_count():
    assert ends_the_same("42", "6 times 7 is 42.")
    assert not ends_the_same("42", "142")
    assert not ends_the_same("42", "42 or 43")
    assert not ends_the_same("two words", "words")
    assert not ends_the_same("42", "")
