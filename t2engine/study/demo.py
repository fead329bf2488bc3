"""The whole job on the shipped model: sample held-out questions, check them, count the cost."""

from __future__ import annotations

from dataclasses import dataclass

from t2engine.engine.llm import LLM
from t2engine.laws.passk import PassAtK, estimate_pass_at_k
from t2engine.schema import RequestOutput, SamplingParams
from t2engine.study.evaluate import count_correct
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tasks.task import Question


@dataclass(frozen=True)
class Demo:
    """Questions with their samples, and how often k samples hold a right one."""

    model: str
    questions: list[Question]
    outputs: list[RequestOutput]
    num_correct: list[int]
    pass_at_k: list[PassAtK]


def run_demo(num_questions: int, num_samples: int, seed: int) -> Demo:
    """pass@k for k = 1, 4, 16, ... up to num_samples, with 95 % intervals over questions."""
    questions = ARITHMETIC.held_out_questions(num_questions, seed)
    llm = LLM()
    params = SamplingParams(n=num_samples, seed=seed, max_tokens=ARITHMETIC.max_tokens)
    outputs = llm.generate([question.prompt for question in questions], params)
    num_correct = [
        count_correct(question, output) for question, output in zip(questions, outputs, strict=True)
    ]
    ks = [4**i for i in range(num_samples.bit_length()) if 4**i <= num_samples]
    counts = [num_samples] * num_questions
    return Demo(
        model=llm.model_dir.name,
        questions=questions,
        outputs=outputs,
        num_correct=num_correct,
        pass_at_k=[estimate_pass_at_k(counts, num_correct, k) for k in ks],
    )
