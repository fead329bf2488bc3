"""End a decode step: record each row's token, stop the rows it ends, make the next step's inputs.

For a row that is alive, whose newest key has step t = last[r]:

    drawn_tokens[t % ring, r] = token[r];  drawn[r] += 1
    ended = token[r] is in the row's end set, or drawn[r] == max_new_tokens[r]
    ended:    alive[r] = 0, first[r] = 0, last[r] = -1                    (no keys of its own)
    or else:  position[r] += 1, last[r] += 1, hidden[r] = embed[token[r]],
              uniform[r] = philox_uniform(seed[r], prompt[r], sample[r], drawn[r])

A row that is not alive is left as it is, so a step after the last is a step that does nothing. The
row's end set is end_ids[end_bounds[end_set[r]] : end_bounds[end_set[r] + 1]].

Shapes: token, alive, drawn, position, first, last, max_new_tokens, end_set, seed, prompt, sample
        [R], end_bounds [E + 1], end_ids [any], drawn_tokens [ring, R] (all int64), embed [V, W],
        hidden [R, W] of one dtype, uniform [R] float64. alive, drawn, position, first, last,
        drawn_tokens, hidden and uniform are written in place; nothing is returned.
Units:  position in tokens, first and last in steps; seed and prompt are the bits of unsigned
        numbers.
Raises: ValueError when a shape disagrees.
"""

from __future__ import annotations

from torch import Tensor

from t2engine.ops._op import Op, expect_rank, expect_shape
from t2engine.ops.philox_uniform import philox_uniform
from t2engine.schema import Cost


def check(
    token: Tensor,
    alive: Tensor,
    drawn: Tensor,
    position: Tensor,
    first: Tensor,
    last: Tensor,
    drawn_tokens: Tensor,
    hidden: Tensor,
    uniform: Tensor,
    max_new_tokens: Tensor,
    end_set: Tensor,
    end_bounds: Tensor,
    end_ids: Tensor,
    seed: Tensor,
    prompt: Tensor,
    sample: Tensor,
    embed: Tensor,
) -> None:
    op = "step_update"
    expect_rank(op, token=(token, 1), drawn_tokens=(drawn_tokens, 2), embed=(embed, 2))
    R, W = token.shape[0], embed.shape[1]
    columns = {
        "alive": alive,
        "drawn": drawn,
        "position": position,
        "first": first,
        "last": last,
        "uniform": uniform,
        "max_new_tokens": max_new_tokens,
        "end_set": end_set,
        "seed": seed,
        "prompt": prompt,
        "sample": sample,
    }
    expect_shape(
        op,
        **{name: (column, [R]) for name, column in columns.items()},
        drawn_tokens=(drawn_tokens, [drawn_tokens.shape[0], R]),
        hidden=(hidden, [R, W]),
    )
    expect_rank(op, end_bounds=(end_bounds, 1), end_ids=(end_ids, 1))


def cost(token: Tensor, *rest: Tensor) -> Cost:
    R, embed = token.shape[0], rest[-1]
    return Cost(flops=0, bytes=R * (2 * embed.shape[1] * embed.element_size() + 8 * 16))


def reference(
    token: Tensor,
    alive: Tensor,
    drawn: Tensor,
    position: Tensor,
    first: Tensor,
    last: Tensor,
    drawn_tokens: Tensor,
    hidden: Tensor,
    uniform: Tensor,
    max_new_tokens: Tensor,
    end_set: Tensor,
    end_bounds: Tensor,
    end_ids: Tensor,
    seed: Tensor,
    prompt: Tensor,
    sample: Tensor,
    embed: Tensor,
) -> tuple[Tensor, ...]:
    ring = drawn_tokens.shape[0]
    for r in alive.nonzero()[:, 0].tolist():
        drawn_tokens[last[r] % ring, r] = token[r]
        drawn[r] += 1
        own = end_ids[end_bounds[end_set[r]] : end_bounds[end_set[r] + 1]]
        if bool((own == token[r]).any()) or drawn[r] == max_new_tokens[r]:
            alive[r], first[r], last[r] = 0, 0, -1
        else:
            position[r] += 1
            last[r] += 1
            hidden[r] = embed[token[r]]
            row = slice(r, r + 1)
            uniform[row] = philox_uniform.reference(seed[row], prompt[row], sample[row], drawn[row])
    return ()


def outputs(*_: Tensor) -> tuple[Tensor, ...]:
    return ()


step_update = Op(
    name="step_update",
    check=check,
    cost=cost,
    reference=reference,
    outputs=outputs,
    native={
        "cuda": "t2engine._C:step_update_cuda",
        "triton": "t2engine.kernels.step_update:step_update",
    },
)
