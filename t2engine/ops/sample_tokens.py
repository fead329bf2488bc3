"""Draw one token per row from filtered, tempered logits by inverse CDF of one uniform.

A row's distribution is softmax(logits / temperature), then restricted, in this order (vLLM's), and
renormalised each time:
    min_p  drop tokens less probable than min_p times the most probable
    top_k  keep the top_k most probable; equal ones in order of their id; 0 or less keeps all
    top_p  keep the fewest most probable whose sum reaches top_p; equal ones in order of their id
The token is the first, in order of id, whose cumulative probability exceeds the uniform.
temperature 0 takes the most probable token, the lowest id among equals.

Shapes: logits [R, V] (on a GPU of any floating-point type), temperature, top_p, min_p [R]
        (float32), top_k [R] (int64), uniform [R] (float64, in [0, 1)); token [R] (int64),
        logprob [R] (float32).
Units:  logprob is the natural logarithm of the drawn token's probability in the restricted
        distribution; 0 at temperature 0. A logit of -inf is never drawn.
Raises: ValueError when a shape disagrees with logits; on a CPU also for a temperature that is not
        a number of at least 0, and for a row of logits without a distribution. A GPU takes such a
        temperature for 0, never draws nan, takes inf for the largest float, and where only -inf is
        left gives token 0 with the logprob nan.
Source: Holtzman et al., arXiv:1904.09751 (top_p); Nguyen et al., arXiv:2407.01082 (min_p).
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.schema import Cost


def check(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    uniform: Tensor,
) -> None:
    expect_rank("sample_tokens", logits=(logits, 2))
    R = logits.shape[0]
    expect_shape(
        "sample_tokens",
        temperature=(temperature, [R]),
        top_k=(top_k, [R]),
        top_p=(top_p, [R]),
        min_p=(min_p, [R]),
        uniform=(uniform, [R]),
    )


def cost(logits: Tensor, *_: Tensor) -> Cost:
    return Cost(flops=4 * logits.numel(), bytes=4 * logits.numel())


def distribution(
    logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float
) -> Tensor:
    """The restricted distribution of one row. logits [V], out [V]."""
    if temperature == 0:
        out = torch.zeros_like(logits)
        out[logits.argmax()] = 1
        return out
    p = (logits / temperature).softmax(dim=0)
    p = torch.where(p >= min_p * p.max(), p, 0)
    order = p.argsort(descending=True, stable=True)
    keep = torch.ones_like(p, dtype=torch.bool)
    if top_k > 0:
        keep[order[top_k:]] = False
    p = torch.where(keep, p, 0)
    p = p / p.sum()
    if top_p < 1:
        sorted_p = p[order].double()
        before = sorted_p.cumsum(dim=0) - sorted_p
        keep[order[before >= top_p]] = False
        keep[order[0]] = True
        p = torch.where(keep, p, 0)
    return p / p.sum()


def reference(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    uniform: Tensor,
) -> tuple[Tensor, Tensor]:
    tokens, logprobs = [], []
    for row in range(logits.shape[0]):
        p = distribution(
            logits[row],
            float(temperature[row]),
            int(top_k[row]),
            float(top_p[row]),
            float(min_p[row]),
        )
        cumulative = p.double().cumsum(dim=0)
        token = int((cumulative <= uniform[row].double() * cumulative[-1]).sum())
        tokens.append(token)
        logprobs.append(p[token].log())
    if not tokens:
        return outputs(logits)
    return torch.tensor(tokens, device=logits.device), torch.stack(logprobs)


def outputs(logits: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    R = logits.shape[0]
    return logits.new_empty(R, dtype=torch.int64), logits.new_empty(R, dtype=torch.float32)


sample_tokens = Op(
    name="sample_tokens",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cpp": "t2engine._C:sample_tokens_cpu",
        "cuda": "t2engine._C:sample_tokens_cuda",
        "triton": "t2engine.kernels.sample_tokens:sample_tokens",
    },
)
