"""The published formats of question files, one function each: a JSON object to a question.

    lambada     {"text": "... last word"}
                the version of Radford et al. 2019, lambada_test.jsonl of EleutherAI/lambada_openai
    arc-easy    {"question": {"stem": ..., "choices": [{"text": ..., "label": "A"}, ...]},
                 "answerKey": "A"}
                data.allenai.org/arc/structure; or as in allenai/ai2_arc on the Hugging Face hub,
                {"question": ..., "choices": {"text": [...], "label": [...]}, "answerKey": "A"}
    openbookqa  the same two, the second with "question_stem" for "question" (allenai/openbookqa);
                a fact, "fact1", is not shown
    sciq        {"question": ..., "correct_answer": ..., "distractor1": ..., "support": ...}
                allenai/sciq, a list of them or one a line; the support is not shown
    jsonl       {"prompt": ..., "answer": ..., "completion": ...}
                anybody's own; without a completion, the answer is the completion

Answers are written freely, never chosen: a question of choices is asked without them, as
`Question: ...`, `Answer:` on the next line, and the text of the right one is the answer. Other keys
are passed over.

Raises: ValueError saying what was expected and what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from t2engine.study.tasks.normalise import ends_the_same, is_same_line, is_same_word
from t2engine.study.tasks.task import Question

Check = Callable[[Question, str], bool]


@dataclass(frozen=True)
class Format:
    read: Callable[[Mapping[str, Any]], Question]
    check: Check


def read_lambada(document: Mapping[str, Any]) -> Question:
    words = text_of(document, "text").rstrip().rsplit(maxsplit=1)
    if len(words) < 2:
        raise ValueError(f"text: expected at least two words, the last one to ask for, got {words}")
    return Question(words[0], " " + words[1], words[1])


def read_choices(document: Mapping[str, Any]) -> Question:
    inner = document.get("question")
    if isinstance(inner, Mapping):
        stem, choices = text_of(inner, "stem"), inner.get("choices")
    else:
        stem = text_of(document, "question_stem" if "question_stem" in document else "question")
        choices = document.get("choices")
    texts = texts_by_label(choices)
    key = text_of(document, "answerKey").strip()
    if key not in texts:
        raise ValueError(f"answerKey: expected one of the labels {', '.join(texts)}, got {key!r}")
    return ask(stem, texts[key])


def texts_by_label(choices: Any) -> dict[str, str]:
    """Of a list of {"text", "label"}, or of {"text": [...], "label": [...]}."""
    if isinstance(choices, Mapping):
        texts, labels = choices.get("text"), choices.get("label")
        if not (isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels)):
            raise ValueError("choices: expected lists text and label of one length")
        choices = [
            {"text": text, "label": label} for text, label in zip(texts, labels, strict=True)
        ]
    if not (isinstance(choices, list) and all(isinstance(choice, Mapping) for choice in choices)):
        raise ValueError(f"choices: expected a list of text and label, got {brief(choices)}")
    found: dict[str, str] = {}
    for choice in choices:
        label = text_of(choice, "label").strip()
        if label in found:
            raise ValueError(f"choices: expected a label of its own for each, got {label!r} twice")
        found[label] = text_of(choice, "text")
    return found


def read_sciq(document: Mapping[str, Any]) -> Question:
    return ask(text_of(document, "question"), text_of(document, "correct_answer"))


def ask(stem: str, answer: str) -> Question:
    return Question(f"Question: {stem.strip()}\nAnswer:", " " + answer.strip(), answer.strip())


def read_own(document: Mapping[str, Any]) -> Question:
    answer = text_of(document, "answer")
    completion = text_of(document, "completion") if "completion" in document else answer
    question = Question(text_of(document, "prompt"), completion, answer)
    if not check_own(question, completion):
        raise ValueError(
            f"completion: expected to end in the answer {answer!r}, got {completion!r}"
        )
    return question


def check_own(question: Question, completion: str) -> bool:
    """Where training shows working before the answer, a sample may too; else it is the answer."""
    if question.completion == question.answer:
        return is_same_line(question.answer, completion)
    return ends_the_same(question.answer, completion)


def check_line(question: Question, completion: str) -> bool:
    return is_same_line(question.answer, completion)


def check_word(question: Question, completion: str) -> bool:
    return is_same_word(question.answer, completion)


def text_of(document: Mapping[str, Any], key: str) -> str:
    if key not in document:
        raise ValueError(f"{key}: expected a text, got no such key but {', '.join(document)}")
    value = document[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}: expected a text that is not empty, got {brief(value)}")
    return value


def brief(value: Any) -> str:
    return f"{value!r:.100}"


FORMATS = {
    "lambada": Format(read_lambada, check_word),
    "arc-easy": Format(read_choices, check_line),
    "openbookqa": Format(read_choices, check_line),
    "sciq": Format(read_sciq, check_line),
    "jsonl": Format(read_own, check_own),
}
