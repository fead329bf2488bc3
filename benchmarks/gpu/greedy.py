"""Whether the GPU engine draws the CPU engine's tokens in float32 at temperature 0.

Sums in another order round otherwise, so a step whose two best logits are nearly equal may go
either way; steps after the first difference have another past and are not compared. Every
difference is written with the gap that the CPU saw between the two tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.gpu.record import Line
from t2engine import LLM, SamplingParams
from t2engine.schema import CompletionOutput
from t2engine.study.tasks.arithmetic import draw_question

QUESTIONS = 400
NEW_TOKENS = 48  # with a question, within the context of 64
SEED = 0


@dataclass(frozen=True)
class Difference:
    """At a step: the CPU's token, the GPU's, and the first's lead in log-probability.

    lead: None where the GPU's token is not among the CPU's two most probable.
    """

    prompt: str
    step: int
    cpu_token: int | None  # None: the sample had ended
    gpu_token: int | None
    lead: float | None


def first_difference(
    prompt: str, cpu: CompletionOutput, gpu: CompletionOutput
) -> tuple[int, Difference | None]:
    """Steps compared, and the difference they end with. cpu has the logprobs of two tokens."""
    pairs = zip(cpu.token_ids, gpu.token_ids, strict=False)
    for step, (ours, theirs) in enumerate(pairs):
        if ours != theirs:
            assert cpu.logprobs is not None
            seen = cpu.logprobs[step]
            lead = seen[ours].logprob - seen[theirs].logprob if theirs in seen else None
            return step + 1, Difference(prompt, step, ours, theirs, lead)
    shorter = min(len(cpu.token_ids), len(gpu.token_ids))
    if len(cpu.token_ids) == len(gpu.token_ids):
        return shorter, None
    longer = (*cpu.token_ids[shorter:][:1], None), (*gpu.token_ids[shorter:][:1], None)
    return shorter + 1, Difference(prompt, shorter, longer[0][0], longer[1][0], None)


def summarize(compared: Sequence[tuple[int, Difference | None]]) -> Line:
    steps = sum(count for count, _ in compared)
    differences = [difference for _, difference in compared if difference is not None]
    leads = [d.lead for d in differences if d.lead is not None]
    return {
        "prompts": len(compared),
        "steps": steps,
        "agreement": 1 - len(differences) / steps,
        "largest_lead": max(leads, default=None),
        "without_lead": sum(d.lead is None for d in differences),
        "differences": [vars(d) for d in differences],
    }


def measure_greedy() -> Line:
    rng = random.Random(SEED)
    prompts = [draw_question(rng).prompt for _ in range(QUESTIONS)]
    params = SamplingParams(temperature=0.0, max_tokens=NEW_TOKENS, ignore_eos=True)
    cpu = LLM(device="cpu", dtype="float32").generate(
        prompts, replace(params, logprobs=2), progress=False
    )
    gpu = LLM(device="cuda", dtype="float32").generate(prompts, params, progress=False)
    return summarize(
        [
            first_difference(prompt, a.outputs[0], b.outputs[0])
            for prompt, a, b in zip(prompts, cpu, gpu, strict=True)
        ]
    )
