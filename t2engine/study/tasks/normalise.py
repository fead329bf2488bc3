"""When two free answers are the same: exact match after taking away what does not matter.

The rule, in this order: Unicode compatibility forms and lower case; punctuation and symbols go,
except a point between two digits and a minus before one at the start of a word; the words a, an and
the go; any white space is one space. Of an answer that has nothing else, all is kept but case and
white space, so that "A" and "+" can be answers.

Source: the evaluation of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1) ignores
punctuation and articles; numbers and answers of nothing else are this file's own.
"""

from __future__ import annotations

import re
import unicodedata

ARTICLES = ("a", "an", "the")
DECIMAL_POINT = re.compile(r"(?<=\d)\.(?=\d)")
MINUS = re.compile(r"(?<!\S)-(?=\d|\.\d)")


def normalise(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    kept = {match.start() for rule in (DECIMAL_POINT, MINUS) for match in rule.finditer(folded)}
    bare = "".join(
        symbol
        for index, symbol in enumerate(folded)
        if index in kept or unicodedata.category(symbol)[0] not in "PS"
    )
    words = [word for word in bare.split() if word not in ARTICLES]
    return " ".join(words or folded.split())


def is_same(one: str, other: str) -> bool:
    return normalise(one) == normalise(other)


def is_same_line(answer: str, completion: str) -> bool:
    """Whether the first line with anything on it is the answer; a model may go on after it."""
    lines = completion.strip().splitlines()
    return bool(lines) and is_same(answer, lines[0])


def is_same_word(answer: str, completion: str) -> bool:
    """Whether the first word is the answer."""
    words = completion.split()
    return bool(words) and is_same(answer, words[0])


def ends_the_same(answer: str, completion: str) -> bool:
    """Whether the last words are the answer, for completions that show their working."""
    wanted, found = normalise(answer).split(), normalise(completion).split()
    return found[-len(wanted) :] == wanted
