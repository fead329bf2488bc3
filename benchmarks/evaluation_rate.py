"""Tokens per second of an evaluation over those of `LLM.generate` alone, side by side.

    python -m benchmarks.evaluation_rate [MODEL_DIR] [--questions 256] [--rounds 5]

In turns: `generate` draws 64 samples of each question and does nothing else; an evaluation draws as
many, checks them and computes the gold losses, into a journal on disk; and one draws them by the
adaptive rule. Printed are the medians over rounds and their ratios to `generate`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from t2engine.engine.llm import LLM
from t2engine.schema import SamplingParams
from t2engine.study import evaluate
from t2engine.study.evaluation.ask import Inquiry, Pace, ask_all
from t2engine.study.evaluation.checkpoints import Checkpoint
from t2engine.study.evaluation.journal import Journal
from t2engine.study.evaluation.rule import StoppingRule, fixed
from t2engine.study.evaluation.source import EngineSource
from t2engine.study.tasks.arithmetic import ARITHMETIC

SHIPPED = Path(evaluate.__file__).parent / "data" / "arithmetic"
SAMPLES = 64


def generate_rate(llm: LLM, inquiry: Inquiry) -> float:
    params = SamplingParams(n=SAMPLES, seed=inquiry.seed, max_tokens=inquiry.task.max_tokens)
    prompts = [question.prompt for question in inquiry.questions]
    began = time.perf_counter()
    outputs = llm.generate(prompts, params, progress=False)
    seconds = time.perf_counter() - began
    return sum(len(sample.token_ids) for out in outputs for sample in out.outputs) / seconds


def evaluation_pace(source: EngineSource, inquiry: Inquiry) -> Pace:
    with (
        tempfile.TemporaryDirectory() as directory,
        Journal(Path(directory) / "journal.jsonl", {}) as journal,
    ):
        return ask_all(inquiry, lambda: source, journal)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    source = EngineSource(Checkpoint("model", options.model, D=1, stop=()))
    questions = ARITHMETIC.held_out_questions(options.questions, 0)
    rules = {"fixed": fixed(SAMPLES), "adaptive": StoppingRule()}
    inquiries = {name: Inquiry(ARITHMETIC, questions, rule, seed=0) for name, rule in rules.items()}
    rates: dict[str, list[float]] = {"generate": [], **{name: [] for name in rules}}
    shares: dict[str, list[float]] = {name: [] for name in rules}
    for _ in range(options.rounds):
        rates["generate"].append(generate_rate(source.llm, inquiries["fixed"]))
        for name, inquiry in inquiries.items():
            pace = evaluation_pace(source, inquiry)
            rates[name].append(pace.tokens / pace.seconds)
            shares[name].append(pace.share_of_engine_rate or 0.0)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(
        json.dumps(
            {
                "tokens_per_second": medians,
                "over_generate": {name: medians[name] / medians["generate"] for name in rules},
                "share_of_engine_rate": {n: statistics.median(v) for n, v in shares.items()},
                "all": rates,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
