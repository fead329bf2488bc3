"""A checkpoint to ask: prompts in its own form, samples from the engine, losses of gold answers.

Sample i of a prompt is a function of the checkpoint, the prompt, the seed and i, so that samples
16 to 32 drawn today and the first 16 of yesterday are the 32 of one go: nothing is drawn twice. On
a GPU the engine is opened `invariant` for this.

Raises: ValueError for a checkpoint that cannot be opened, or a question that it cannot be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from t2engine.engine.llm import LLM, FinishedSample
from t2engine.schema import SamplingParams
from t2engine.study.evaluation.checkpoints import Checkpoint
from t2engine.study.evaluation.gold import Gold, gold_losses, gold_tokens
from t2engine.study.tasks.task import Question

LINE_END = "\n"


@dataclass(frozen=True)
class Ask:
    """Samples `have` to `want` of a question."""

    question: Question
    have: int
    want: int


class Source(Protocol):
    """What answers questions."""

    def draw(self, asks: Sequence[Ask], max_tokens: int, seed: int) -> Iterator[FinishedSample]:
        """Every sample as it ends; prompt_index is that of the ask."""
        ...

    def gold_losses(self, questions: Sequence[Question]) -> list[float]: ...


class EngineSource:
    """A checkpoint in the engine."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        from t2engine.model.chat import read_chat_template  # brings in jinja2

        self.llm = LLM(checkpoint.path, dtype=checkpoint.dtype, invariant=True)
        self.template = read_chat_template(self.llm.model_dir) if checkpoint.chat else None
        if checkpoint.chat and self.template is None:
            raise ValueError(f"{checkpoint.path} has no chat template; leave out chat = true")
        self.stop = default_stop(self.llm, checkpoint)

    def draw(self, asks: Sequence[Ask], max_tokens: int, seed: int) -> Iterator[FinishedSample]:
        params = SamplingParams(temperature=1.0, seed=seed, max_tokens=max_tokens, stop=self.stop)
        requests = self.llm.intake.requests(
            [list(self.gold(ask.question).prompt) for ask in asks],
            [replace(params, n=ask.want - ask.have) for ask in asks],
        )
        return self.llm.start(
            [
                replace(request, first_index=ask.have)
                for request, ask in zip(requests, asks, strict=True)
            ]
        )

    def gold_losses(self, questions: Sequence[Question]) -> list[float]:
        return gold_losses(self.llm, [self.gold(question) for question in questions])

    def gold(self, question: Question) -> Gold:
        prompt, special = question.prompt, True
        if self.template is not None:
            prompt = self.template.render([{"role": "user", "content": question.prompt}])
            special = False  # the template has written them
        ending = question.completion + (self.stop[0] if self.stop else "")
        end_ids = () if self.stop else self.llm.intake.eos_token_ids
        return gold_tokens(self.llm.tokenizer, prompt, ending, special=special, end_ids=end_ids)


def default_stop(llm: LLM, checkpoint: Checkpoint) -> tuple[str, ...]:
    if checkpoint.stop is not None:
        return checkpoint.stop
    tokenizer = llm.tokenizer
    written = tokenizer.decode(tokenizer.encode(LINE_END, add_special_tokens=False))
    return () if checkpoint.chat or written != LINE_END else (LINE_END,)
