"""Triton backend of t2engine/ops/step_update.py. One program per row, which touches no other."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from t2engine.kernels.philox_uniform import philox

BLOCK = 2048  # elements of a row copied at a time: 16 per thread of 4 warps


@triton.jit
def is_end(token, end_set, end_bounds_ptr, end_ids_ptr):
    """1 where the token is in the row's end set, else 0."""
    found = 0
    begin = tl.load(end_bounds_ptr + end_set)
    for i in range(begin, tl.load(end_bounds_ptr + end_set + 1)):
        found |= (tl.load(end_ids_ptr + i) == token).to(tl.int32)
    return found


@triton.jit(do_not_specialize=["num_rows", "ring"])
def step_update_kernel(
    token_ptr,  # [R]
    alive_ptr, drawn_ptr, position_ptr, first_ptr, last_ptr,  # [R]  written
    drawn_tokens_ptr, hidden_ptr, uniform_ptr,  # [ring, R], [R, W], [R]  written
    max_new_tokens_ptr, end_set_ptr, end_bounds_ptr, end_ids_ptr,  # [R], [R], [E + 1], [any]
    seed_ptr, prompt_ptr, sample_ptr, embed_ptr,  # [R] three times, [V, W]
    num_rows, ring,  # R, ring
    WIDTH: tl.constexpr,  # W
    BLOCK_W: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    if tl.load(alive_ptr + row) != 0:
        token = tl.load(token_ptr + row)
        drawn = tl.load(drawn_ptr + row) + 1
        position = tl.load(position_ptr + row) + 1
        last = tl.load(last_ptr + row)
        end_set = tl.load(end_set_ptr + row)
        ended = is_end(token, end_set, end_bounds_ptr, end_ids_ptr)
        ended |= (drawn == tl.load(max_new_tokens_ptr + row)).to(tl.int32)
        # Every warp has read what one of them writes below.
        tl.debug_barrier()
        slot = last % ring
        slot += tl.where(slot < 0, ring, 0)
        tl.store(drawn_tokens_ptr + slot * num_rows + row, token)
        tl.store(drawn_ptr + row, drawn)
        if ended != 0:
            tl.store(alive_ptr + row, 0)
            tl.store(first_ptr + row, 0)
            tl.store(last_ptr + row, -1)
        else:
            tl.store(position_ptr + row, position)
            tl.store(last_ptr + row, last + 1)
            seed, prompt = tl.load(seed_ptr + row), tl.load(prompt_ptr + row)
            sample = tl.load(sample_ptr + row)
            tl.store(uniform_ptr + row, philox(seed, prompt, sample, drawn))
            for begin in range(0, WIDTH, BLOCK_W):
                columns = begin + tl.arange(0, BLOCK_W)
                mask = columns < WIDTH
                vector = tl.load(embed_ptr + token * WIDTH + columns, mask=mask, other=0.0)
                tl.store(hidden_ptr + row * WIDTH + columns, vector, mask=mask)


def step_update(
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
    ring, R = drawn_tokens.shape
    if R == 0:
        return
    W = embed.shape[1]
    block_w = min(BLOCK, triton.next_power_of_2(W))
    with torch.cuda.device(token.get_device()):
        step_update_kernel[(R,)](
            token, alive, drawn, position, first, last, drawn_tokens, hidden, uniform,
            max_new_tokens, end_set, end_bounds, end_ids, seed, prompt, sample, embed,
            R, ring, WIDTH=W, BLOCK_W=block_w,
        )  # fmt: skip
