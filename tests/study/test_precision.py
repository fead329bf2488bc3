"""What a lower precision changes in the shipped model's own distributions."""

from __future__ import annotations

import pytest
import torch

from t2engine.model.hub import SHIPPED_MODEL, resolve_model
from t2engine.model.tokenizer import read_tokenizer
from t2engine.schema import Precision
from t2engine.study.tasks.arithmetic import ARITHMETIC
from tests.engine.harness import load_ours, our_logits

NUM_QUESTIONS = 48
LIMITS = {  # nats, mean over every token of the held-out questions' completions
    Precision("bfloat16", "float32"): 1e-4,
    Precision("float16", "float32"): 1e-5,
    Precision("int8", "float32"): 1e-3,
    Precision("float32", "bfloat16"): 1e-4,
    Precision("float32", "int8"): 1e-3,
    Precision("int8", "int8"): 1e-3,
}


def log_probabilities(precision: Precision) -> torch.Tensor:
    """[tokens, vocab_size], after every token of a question from the last of its prompt on."""
    model_dir = resolve_model(SHIPPED_MODEL)
    model = load_ours(model_dir, precision)
    tokenizer = read_tokenizer(model_dir, model.config.vocab_size)
    rows = []
    for question in ARITHMETIC.held_out_questions(NUM_QUESTIONS, seed=0):
        prompt = tokenizer.encode(question.prompt)
        whole = tokenizer.encode(question.prompt + question.completion)
        rows.append(our_logits(model, whole, len(prompt)))
    return torch.cat(rows).double().log_softmax(dim=-1)


@pytest.fixture(scope="module")
def exact() -> torch.Tensor:
    return log_probabilities(Precision())


@pytest.mark.parametrize("precision", LIMITS, ids=lambda p: f"{p.weights}-{p.cache}")
def test_kl_divergence_from_float32(precision: Precision, exact: torch.Tensor) -> None:
    other = log_probabilities(precision)
    divergence = float((exact.exp() * (exact - other)).sum(dim=-1).mean())
    print(f"{precision}: mean KL {divergence:.2e}")
    assert 0 < divergence <= LIMITS[precision]
