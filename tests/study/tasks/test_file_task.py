"""Question files in their published formats, with invented content, and files that are wrong."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from t2engine.study.tasks.file_task import read_file_task
from t2engine.study.tasks.formats import FORMATS
from t2engine.study.tasks.task import Question

LAMBADA = {
    "text": "Mara opened the old tin. There was nothing left in it but a single brown button"
}
ARC = {
    "id": "Invented_1",
    "question": {
        "stem": "Which of these floats on water?",
        "choices": [
            {"text": "a nail", "label": "A"},
            {"text": "a dry cork", "label": "B"},
            {"text": "a coin", "label": "C"},
        ],
    },
    "answerKey": "B",
}
ARC_HUB = {
    "id": "Invented_2",
    "question": "What do bees make?",
    "choices": {"text": ["glass", "honey", "silk"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
OPENBOOK = {
    "id": "7-1",
    "question": {
        "stem": "A wet stone dries fastest",
        "choices": [{"text": "in a cellar", "label": "A"}, {"text": "in the sun", "label": "B"}],
    },
    "fact1": "warmth makes water go",
    "answerKey": "B",
}
OPENBOOK_HUB = {
    "id": "7-2",
    "question_stem": "Seeds are moved by",
    "choices": {"text": ["wind", "rules"], "label": ["A", "B"]},
    "answerKey": "A",
}
SCIQ = {
    "question": "What is the invented unit of wetness?",
    "distractor1": "glim",
    "distractor2": "trell",
    "distractor3": "vorn",
    "correct_answer": "plosh",
    "support": "",
}
OWN = {"prompt": "6*7=", "answer": "42", "completion": "7 14 42"}

# kind, document, prompt, completion, answer
GOOD: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("lambada", LAMBADA, LAMBADA["text"].removesuffix(" button"), " button", "button"),
    (
        *("arc-easy", ARC, "Question: Which of these floats on water?\nAnswer:"),
        *(" a dry cork", "a dry cork"),
    ),
    ("arc-easy", ARC_HUB, "Question: What do bees make?\nAnswer:", " honey", "honey"),
    (
        *("openbookqa", OPENBOOK, "Question: A wet stone dries fastest\nAnswer:"),
        *(" in the sun", "in the sun"),
    ),
    ("openbookqa", OPENBOOK_HUB, "Question: Seeds are moved by\nAnswer:", " wind", "wind"),
    (
        *("sciq", SCIQ, "Question: What is the invented unit of wetness?\nAnswer:"),
        *(" plosh", "plosh"),
    ),
    ("jsonl", OWN, "6*7=", "7 14 42", "42"),
    ("jsonl", {"prompt": "hm?", "answer": "Yes."}, "hm?", "Yes.", "Yes."),
]


def write_lines(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def numbered(count: int, first: int = 0) -> list[dict[str, str]]:
    return [{"prompt": f"{n}+1=", "answer": str(n + 1)} for n in range(first, first + count)]


@pytest.mark.parametrize(("kind", "document", "prompt", "completion", "answer"), GOOD)
def test_published_formats(
    tmp_path: Path, kind: str, document: dict[str, Any], prompt: str, completion: str, answer: str
):
    task = read_file_task(kind, write_lines(tmp_path / "test.jsonl", document))
    (question,) = task.held_out_questions(1, 0)
    assert question == Question(prompt, completion, answer)
    assert task.is_right(question, completion)
    assert task.is_right(question, f"{answer.upper()}!")
    for wrong in ("", "un" + answer, "wrong " + answer[::-1]):
        assert not task.is_right(question, wrong)
    assert task.max_tokens == len(completion) + 1


def test_every_format_is_tested():
    assert {kind for kind, *_ in GOOD} == set(FORMATS)


def test_what_a_sample_may_add(tmp_path: Path):
    def right(document: dict[str, Any], kind: str, sample: str) -> bool:
        task = read_file_task(kind, write_lines(tmp_path / "one.jsonl", document))
        return task.is_right(task.questions[0], sample)

    assert right(LAMBADA, "lambada", " button, and she")
    assert right(ARC, "arc-easy", " Dry cork\n\nQuestion: and then?")
    assert not right(ARC, "arc-easy", " a dry cork, or a nail")
    assert right(OWN, "jsonl", "anything 42")
    assert not right({"prompt": "6*7=", "answer": "42"}, "jsonl", "anything 42")


def test_a_list_reads_as_its_lines(tmp_path: Path):
    documents = [SCIQ, SCIQ | {"question": "What glows [in the dark], and why?"}]
    lines = read_file_task("sciq", write_lines(tmp_path / "lines.jsonl", *documents))
    for name, indent in (("flat.json", None), ("deep.json", 4)):
        path = tmp_path / name
        path.write_text("\n " + json.dumps(documents, indent=indent) + "\n")
        assert read_file_task("sciq", path).questions == lines.questions


def test_held_out_order_is_the_seeds(tmp_path: Path):
    task = read_file_task("jsonl", write_lines(tmp_path / "sums.jsonl", *numbered(50)))
    order = task.held_out_questions(50, 3)
    assert task.name == "sums"
    assert order[:20] == task.held_out_questions(20, 3)
    assert order != task.held_out_questions(50, 4)
    assert set(order) == set(task.questions)
    with pytest.raises(ValueError, match=r"must be at most 50, .*sums.jsonl has, got 51; ask for"):
        task.held_out_questions(51, 3)


def test_training_goes_through_its_file_again_and_again(tmp_path: Path):
    held_out = write_lines(tmp_path / "test.jsonl", *numbered(5))
    train = write_lines(tmp_path / "train.jsonl", *numbered(10, first=3), *numbered(1, first=9))
    task = read_file_task("jsonl", held_out, train)
    drawn = [question.prompt for question in islice(task.training_questions(0), 27)]
    assert Counter(drawn) == {f"{n}+1=": 6 if n == 9 else 3 for n in range(5, 13)}
    assert drawn[:9] != drawn[9:18]
    assert drawn == [question.prompt for question in islice(task.training_questions(0), 27)]
    assert drawn != [question.prompt for question in islice(task.training_questions(1), 27)]
    assert task.left_out == 2  # 3+1= and 4+1= are held out


def test_there_may_be_nothing_to_train_on(tmp_path: Path):
    path = write_lines(tmp_path / "test.jsonl", *numbered(5))
    for train in (None, path):
        with pytest.raises(ValueError, match=r"test\.jsonl has no questions to train on; name"):
            read_file_task("jsonl", path, train).training_questions(0)


def test_repeated_questions_are_refused_or_left_out(tmp_path: Path):
    path = write_lines(tmp_path / "test.jsonl", *numbered(3), *numbered(1))
    with pytest.raises(
        ValueError, match=r"line 4: expected a question of its own, .* of line 1 ag"
    ):
        read_file_task("jsonl", path)
    task = read_file_task("jsonl", path, keep_first=True)
    assert (len(task.questions), task.left_out) == (3, 1)


def test_max_tokens_may_be_given_and_else_holds_bytes(tmp_path: Path):
    path = write_lines(tmp_path / "test.jsonl", {"prompt": "?", "answer": "né"})
    assert read_file_task("jsonl", path).max_tokens == 4
    assert read_file_task("jsonl", path, max_tokens=9).max_tokens == 9


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("lambada", {"txt": "a b"}, "text: expected a text, got no such key but txt"),
    ("lambada", {"text": "alone"}, "text: expected at least two words"),
    ("lambada", {"text": 5}, "text: expected a text that is not empty, got 5"),
    ("arc-easy", without(ARC, "answerKey"), "answerKey: expected a text, got no such key"),
    (
        "arc-easy",
        ARC | {"answerKey": "D"},
        "answerKey: expected one of the labels A, B, C, got 'D'",
    ),
    ("arc-easy", ARC_HUB | {"answerKey": ""}, "answerKey: expected a text that is not empty"),
    ("arc-easy", without(ARC, "question"), "question: expected a text, got no such key"),
    (
        "arc-easy",
        without(ARC_HUB, "choices"),
        "choices: expected a list of text and label, got None",
    ),
    (
        *("arc-easy", ARC_HUB | {"choices": {"text": ["a"], "label": []}}),
        "choices: expected lists text and label of one length",
    ),
    ("arc-easy", ARC_HUB | {"choices": [{"text": "honey"}]}, "label: expected a text, got no such"),
    (
        *("openbookqa", OPENBOOK_HUB | {"choices": {"text": ["a", "b"], "label": ["A", "A"]}}),
        "choices: expected a label of its own for each, got 'A' twice",
    ),
    (
        "openbookqa",
        OPENBOOK_HUB | {"choices": {"text": ["", "b"], "label": ["A", "B"]}},
        "text: expe",
    ),
    (
        "sciq",
        without(SCIQ, "correct_answer"),
        "correct_answer: expected a text, got no such key but",
    ),
    ("jsonl", without(OWN, "answer"), "answer: expected a text, got no such key"),
    ("jsonl", OWN | {"answer": None}, "answer: expected a text that is not empty, got None"),
    (
        "jsonl",
        OWN | {"answer": "43"},
        "completion: expected to end in the answer '43', got '7 14 42'",
    ),
]


@pytest.mark.parametrize(("kind", "document", "message"), BAD)
def test_a_wrong_line_is_named(tmp_path: Path, kind: str, document: dict[str, Any], message: str):
    good = next(row[1] for row in GOOD if row[0] == kind)
    path = write_lines(tmp_path / "bad.jsonl", good, document)
    with pytest.raises(ValueError, match=r"bad\.jsonl: line 2: ") as caught:
        read_file_task(kind, path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected questions in the format jsonl, got an empty file"),
        (b"\n \n", "expected questions in the format jsonl, got an empty file"),
        (b"[ ]", "expected questions in the format jsonl, got an empty file"),
        (b'{"prompt": "?", "answer": "!"}\nprompt,answer', "line 2: not a JSON object"),
        (b'{"prompt": "?", "answer": "!"}\n\n[1]', "line 3: expected a JSON object, got a list"),
        (b"[5]", "line 1: expected a JSON object, got a int"),
        (b'[{"prompt": "?", "answer": "!"}\n,\n{"prompt" 5}]', "line 3: not a JSON object"),
        (
            b'[{"prompt": "?", "answer": "!"}\n{}]',
            "line 2: expected a comma or the end of the list",
        ),
        (b'[{"prompt": "?", "answer": "!"}', "line 1: expected a comma or the end of the list"),
        (b'[{"prompt": "?", "answer": "!"},\n{"prompt": "?"}]', "line 2: answer: expected a text"),
        (b'[{"prompt": "\xff"}]', "must be UTF-8 text"),
        (b'{"prompt": "\xff"}', "must be UTF-8 text"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: bytes, message: str):
    path = tmp_path / "bad.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"bad\.json: ") as caught:
        read_file_task("jsonl", path)
    assert message in str(caught.value)


def test_a_wrong_training_file_is_named(tmp_path: Path):
    held_out = write_lines(tmp_path / "test.jsonl", *numbered(2))
    with pytest.raises(ValueError, match=r"train\.jsonl: line 1: answer"):
        read_file_task("jsonl", held_out, write_lines(tmp_path / "train.jsonl", {"prompt": "?"}))


def test_unknown_kinds_and_absent_files(tmp_path: Path):
    with pytest.raises(
        ValueError, match="one of lambada, arc-easy, openbookqa, sciq, jsonl, got 'x"
    ):
        read_file_task("xsum", tmp_path)
    for path in (tmp_path, tmp_path / "absent.jsonl"):
        with pytest.raises(ValueError, match="expected a file of questions, found none"):
            read_file_task("sciq", path)
