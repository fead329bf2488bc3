"""The engine behind an evaluation, held against `generate`, transformers and the training loss."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from t2engine import LLM
from t2engine.schema import SamplingParams
from t2engine.study import evaluate as study
from t2engine.study.checkpoint import load_model
from t2engine.study.evaluation.ask import Inquiry, Memory, ask_all
from t2engine.study.evaluation.checkpoints import Checkpoint
from t2engine.study.evaluation.counting import Checker, count_right
from t2engine.study.evaluation.gold import Gold, gold_losses, groups_of
from t2engine.study.evaluation.rule import StoppingRule
from t2engine.study.evaluation.source import Ask, EngineSource
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question
from t2engine.study.training import gold_losses as training_losses
from tests.model.tiny import EOS, TINY_MODELS, write_tiny_model
from tests.study.asking import output

SHIPPED = Path(study.__file__).parent / "data" / "arithmetic"
QUESTIONS = ARITHMETIC.held_out_questions(24, 9)
TEXTS = [
    Question("The cat sat", " on the mat", "mat"),
    Question("A", " b", "b"),
    Question("one two three four five", " six", "six"),
]


def shipped() -> EngineSource:
    return EngineSource(Checkpoint("shipped", SHIPPED, D=1, stop=()))


def test_adaptive_counts_are_those_of_one_generate():
    rule = StoppingRule(4, 32, 3)
    inquiry = Inquiry(ARITHMETIC, QUESTIONS, rule, seed=5)
    entries, pace = ask_all(inquiry, shipped, Memory())
    llm = LLM(SHIPPED)
    params = SamplingParams(n=32, seed=5, max_tokens=ARITHMETIC.max_tokens)
    outputs = llm.generate([question.prompt for question in QUESTIONS], params, progress=False)
    assert len({entry.num_samples for entry in entries}) > 1
    for entry, question, request in zip(entries, QUESTIONS, outputs, strict=True):
        first = request.outputs[: entry.num_samples]
        assert entry.num_correct == count_right(ARITHMETIC, question, first)
    drawn = [
        sample
        for entry, request in zip(entries, outputs, strict=True)
        for sample in request.outputs[: entry.num_samples]
    ]
    assert pace.tokens == sum(len(sample.token_ids) for sample in drawn)
    assert 0 < pace.share_of_engine_rate < 1


def test_gold_losses_of_a_character_model_are_those_of_training():
    want = training_losses(load_model(SHIPPED), QUESTIONS)
    assert shipped().gold_losses(QUESTIONS) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt_neox"])
@pytest.mark.parametrize("stop", [None, ()])
def test_gold_losses_are_those_of_transformers(tmp_path: Path, name: str, stop):
    family, overrides = TINY_MODELS[name]
    write_tiny_model(tmp_path, family, **overrides)
    source = EngineSource(Checkpoint("tiny", tmp_path, D=1, stop=stop))
    assert source.stop == (("\n",) if stop is None else ())
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    encode = source.llm.tokenizer.encode
    for question, loss in zip(TEXTS, source.gold_losses(TEXTS), strict=True):
        prompt = encode(question.prompt)
        end = [EOS] if stop == () else encode("\n", add_special_tokens=False)
        gold = encode(question.completion, add_special_tokens=False) + end
        with torch.no_grad():
            logits = model(torch.tensor([prompt + gold])).logits[0].double().log_softmax(-1)
        rows = range(len(prompt) - 1, len(prompt) + len(gold) - 1)
        want = -sum(float(logits[row, token]) for row, token in zip(rows, gold, strict=True))
        assert loss == pytest.approx(want, rel=1e-5)


def test_a_question_s_loss_does_not_depend_on_its_company():
    source = shipped()
    together = source.gold_losses(QUESTIONS)
    assert [source.gold_losses([question])[0] for question in QUESTIONS] == together


def test_losses_of_an_untrained_uniform_model_are_the_logarithm_of_its_vocabulary(tmp_path: Path):
    write_tiny_model(tmp_path, "llama")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(tmp_path)
    llm = LLM(tmp_path)
    golds = [Gold((1, 2), (3, 4, 5)), Gold((7,), (8,))]
    each = math.log(model.config.vocab_size)
    assert gold_losses(llm, golds) == pytest.approx([3 * each, each])


def test_groups_keep_the_order_and_all():
    golds = [Gold((1,) * length, (2,)) for length in (1, 4000, 3, 9, 5000, 2)]
    groups = list(groups_of(golds))
    assert [gold for group in groups for gold in group] == golds
    assert all(groups)
    assert len(groups) > 1


def test_a_line_s_end_ends_an_answer_of_a_text_model(tiny_dir: Path):
    source = EngineSource(Checkpoint("tiny", tiny_dir, D=1))
    inquiry = Inquiry(ARITHMETIC, QUESTIONS[:4], StoppingRule(8, 8), seed=1)
    entries, _ = ask_all(replace(inquiry, questions=TEXTS), lambda: source, Memory())
    assert {entry.num_samples for entry in entries} == {8}
    asks = list(source.draw([Ask(question, 0, 64) for question in TEXTS], 40, seed=1))
    ended = [finished.output for finished in asks if finished.output.finish_reason == "stop"]
    assert any(sample.stop_reason == "\n" for sample in ended)
    assert not any("\n" in sample.text for sample in ended)


def test_a_chat_model_is_asked_by_its_template(tmp_path: Path):
    write_tiny_model(tmp_path, "llama")
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<answer>"
    with pytest.raises(ValueError, match="no chat template"):
        EngineSource(Checkpoint("tiny", tmp_path, D=1, chat=True))
    (tmp_path / "chat_template.jinja").write_text(template)
    source = EngineSource(Checkpoint("tiny", tmp_path, D=1, chat=True))
    assert source.stop == ()
    gold = source.gold(TEXTS[0])
    encode = source.llm.tokenizer.encode
    assert list(gold.prompt) == encode("<user>The cat sat<answer>", add_special_tokens=False)
    assert list(gold.completion) == [*encode(" on the mat", add_special_tokens=False), EOS]
    assert len(list(source.draw([Ask(TEXTS[0], 0, 3)], 4, seed=0))) == 3


def test_a_model_that_says_nothing_is_wrong(tmp_path: Path):
    """Its end token comes first with a probability of one, whatever the prompt."""
    write_tiny_model(tmp_path, "llama")
    fields = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(
        json.dumps({**fields, "eos_token_id": list(range(320))})
    )
    inquiry = Inquiry(Always("always", 4), TEXTS, StoppingRule(4, 4), seed=0)
    source = EngineSource(Checkpoint("silent", tmp_path, D=1, stop=()))
    entries, _ = ask_all(inquiry, lambda: source, Memory())
    assert [(entry.num_samples, entry.num_correct) for entry in entries] == [(4, 0)] * 3


class Always:
    """Every answer is right."""

    def __init__(self, name: str, max_tokens: int) -> None:
        self.name, self.max_tokens = name, max_tokens
        self.asked: list[str] = []

    def training_questions(self, seed: int):
        raise NotImplementedError

    def held_out_questions(self, count: int, seed: int) -> list[Question]:
        return TEXTS[:count]

    def is_right(self, question: Question, completion: str) -> bool:
        self.asked.append(completion)
        return True


def verdicts(task: Always, texts: Sequence[tuple[str, str]]) -> list[tuple[int, bool]]:
    with Checker(task, TEXTS) as checker:
        for index, (text, reason) in enumerate(texts):
            checker.add(index % 2, output(index, text, reason))
        return list(checker.results(wait=True))


def test_a_checker_judges_each_sample_in_order_and_each_answer_once():
    task = Always("always", 1)
    texts = [("x", "stop"), ("x", "stop"), ("x", "length"), ("", "stop")] * 300
    found = verdicts(task, texts)
    want = [(i % 2, text == "x" and reason == "stop") for i, (text, reason) in enumerate(texts)]
    assert found == want
    assert task.asked == ["x", "x"]  # of two questions


def test_what_a_check_raises_is_not_lost():
    class Bad(Always):
        def is_right(self, question: Question, completion: str) -> bool:
            raise RuntimeError("no verdict")

    with pytest.raises(RuntimeError, match="no verdict"):
        verdicts(Bad("bad", 1), [("x", "stop")])


def test_checks_that_nobody_waits_for_are_abandoned():
    task = Always("slow", 1)
    started = threading.Event()
    go_on = threading.Event()

    def is_right(question: Question, completion: str) -> bool:
        task.asked.append(completion)
        started.set()
        return go_on.wait(60)

    task.is_right = is_right

    def interrupted() -> None:
        with Checker(task, TEXTS) as checker:
            for index in range(600):
                checker.add(0, output(index, str(index)))
            checker.send()
            assert started.wait(60)
            threading.Timer(0.2, go_on.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert task.asked == ["0"]
