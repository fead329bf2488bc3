"""Triton backend of t2engine/ops/sample_tokens.py. One program per row.

Without filters the row is read once for its blocks' masses, and then the block that the uniform
falls into. Filters list the few tokens that can be left (kernels/sample_cuts.py), or where they are
many, go over the row again.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from t2engine.kernels.sample_cuts import (
    LARGEST,
    STAGES,
    bound_by_peaks,
    find_cut,
    gather,
    keys_of,
    load_block,
    load_listed,
    load_logits,
    masses_at,
    value_of,
)

BLOCK = 4096  # tokens read at a time, whatever the vocabulary; the list has room for as many
LEAST_BLOCKS = 64  # of a row, for which there is room: 262144 tokens
OPTIONS = {"num_warps": 16, "maxnreg": 128}  # without a limit ptxas takes 64, and spills
LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
LOWEST_KEY = tl.constexpr(-2139095040)  # of the most negative finite float32
NO_WEIGHT = tl.constexpr(150.0)  # 2 ** -150 is 0 in float32


@triton.jit
def survey(row_ptr, scale, VOCAB: tl.constexpr, BLOCK: tl.constexpr, NUM_BLOCKS: tl.constexpr):
    """Each block's largest logit and its sum of weights, relative to that one.

    peaks [BLOCK] are the largest of what lies at one place of every block.
    """
    numbers = tl.arange(0, NUM_BLOCKS)
    tops = tl.full([NUM_BLOCKS], float("-inf"), tl.float32)
    sums = tl.zeros([NUM_BLOCKS], tl.float32)
    peaks = tl.full([BLOCK], float("-inf"), tl.float32)
    for block in tl.range(0, tl.cdiv(VOCAB, BLOCK), num_stages=STAGES):
        x = load_block(row_ptr, block, VOCAB, BLOCK)
        peaks = tl.maximum(peaks, x)
        top = tl.max(x, axis=0)
        # Nothing to draw: the finite floor keeps -inf - -inf (nan) from appearing.
        weights = tl.exp2((x - tl.maximum(top, -LARGEST)) * scale)
        tops = tl.where(numbers == block, top, tops)
        sums = tl.where(numbers == block, tl.sum(weights, axis=0), sums)
    return tops, sums, peaks


@triton.jit
def filtered(
    list_ptr, row_ptr, peaks, mass, top, scale, top_k, top_p, min_p,
    VOCAB: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """What the filters keep: the keys above a cut, and so many ties at it.

    Also the size of the list if it holds all of them, else more than BLOCK.
    """
    limited = (top_k > 0) & (top_k < VOCAB)
    least = tl.minimum(tl.maximum(min_p, 2.0**-126), 1.0)
    span = tl.where(min_p > 0, -tl.log2(least), NO_WEIGHT)
    high = keys_of(top)
    low = keys_of(tl.maximum(top - span / scale, -LARGEST))
    if limited:
        if VOCAB > BLOCK:
            low = bound_by_peaks(peaks, low, high, top_k)
    elif (min_p <= 0) & (top_p < 1):
        # Tokens below half a VOCAB-th of what may be dropped do not reach it together.
        spare = 0.5 * (1.0 - top_p) * mass.to(tl.float32) / VOCAB
        low = tl.minimum(tl.maximum(low, keys_of(top + tl.log2(spare) / scale)), high)
    size = gather(list_ptr, row_ptr, low, high, VOCAB, BLOCK)
    cut, ties = low, tl.full([], VOCAB, tl.int32)
    if limited:
        cut, before = find_cut(
            list_ptr,
            row_ptr,
            size,
            low,
            high,
            top_k.to(tl.float64),
            top,
            scale,
            False,
            VOCAB,
            BLOCK,
        )
        ties = (top_k - before.to(tl.int64)).to(tl.int32)
    if top_p < 1:
        if limited | (min_p > 0):
            mass, before = masses_at(list_ptr, row_ptr, size, cut, top, scale, VOCAB, BLOCK)
            equal = tl.exp2((value_of(cut) - top) * scale).to(tl.float64)
            mass = tl.minimum(mass, before + ties * equal)
        # The most probable token is kept whatever top_p is.
        goal = tl.maximum(top_p.to(tl.float64) * mass, 1e-300)
        first = cut
        cut, before = find_cut(
            list_ptr, row_ptr, size, first, high, goal, top, scale, True, VOCAB, BLOCK
        )
        equal = tl.exp2((value_of(cut) - top) * scale).to(tl.float64)
        needed = tl.ceil((goal - before) / tl.maximum(equal, 1e-300))
        needed = tl.minimum(tl.maximum(needed, 1.0), VOCAB).to(tl.int32)
        ties = tl.where(cut == first, tl.minimum(ties, needed), needed)
    return cut, ties, size


@triton.jit
def survey_kept(
    row_ptr, cut, ties, top, scale,
    VOCAB: tl.constexpr,
    BLOCK: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,
):  # fmt: skip
    """The mass of each block's tokens above the cut and first ties at it, and the ties before."""
    numbers = tl.arange(0, NUM_BLOCKS)
    masses = tl.zeros([NUM_BLOCKS], tl.float64)
    ties_before = tl.zeros([NUM_BLOCKS], tl.int32)
    equal = tl.exp2((value_of(cut) - top) * scale)
    seen = ties * 0
    for block in tl.range(0, tl.cdiv(VOCAB, BLOCK), num_stages=STAGES):
        x = load_block(row_ptr, block, VOCAB, BLOCK)
        keys = keys_of(x)
        above = tl.sum(tl.where(keys > cut, tl.exp2((x - top) * scale), 0.0), axis=0)
        found = tl.sum((keys == cut).to(tl.int32), axis=0)
        kept = tl.minimum(found, tl.maximum(ties - seen, 0))
        masses = tl.where(numbers == block, (above + kept * equal).to(tl.float64), masses)
        ties_before = tl.where(numbers == block, seen, ties_before)
        seen += found
    return masses, ties_before


@triton.jit
def first_over(sums, weights, target):
    """The first place with a weight whose running sum exceeds target, or else the last of them."""
    places = tl.arange(0, weights.shape[0])
    over = tl.min(tl.where((sums > target) & (weights > 0), places, weights.shape[0]), axis=0)
    return tl.minimum(over, tl.max(tl.where(weights > 0, places, 0), axis=0))


@triton.jit
def sample_tokens_kernel(
    token_ptr, logprob_ptr,  # [R] int64, [R] float32  written
    list_ptr,  # [R, BLOCK] int32  scratch
    logits_ptr,  # [R, V]
    temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr,  # [R] float32, int64, float32, float32
    uniform_ptr,  # [R] float64
    VOCAB: tl.constexpr,  # V
    BLOCK: tl.constexpr,
    NUM_BLOCKS: tl.constexpr,  # power of two, at least V / BLOCK
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # R*V may pass 2**31
    row_ptr = logits_ptr + row * VOCAB
    list_ptr += row * BLOCK
    temperature, top_k = tl.load(temperature_ptr + row), tl.load(top_k_ptr + row)
    top_p, min_p = tl.load(top_p_ptr + row), tl.load(min_p_ptr + row)
    uniform = tl.load(uniform_ptr + row)
    draws = temperature > 0  # or else takes the most probable
    scale = LOG2_E / tl.where(draws, temperature, 1.0)
    scale = tl.minimum(tl.maximum(scale, 2.0**-120), LARGEST)  # 0 * inf would be nan

    tops, sums, peaks = survey(row_ptr, scale, VOCAB, BLOCK, NUM_BLOCKS)
    highest = tl.max(tops, axis=0)
    top = tl.maximum(highest, -LARGEST)
    masses = sums * tl.exp2((tl.where(tops > float("-inf"), tops, top) - top) * scale)
    if not draws:
        masses = tl.where(tops == highest, sums, 0.0)
    masses = masses.to(tl.float64)  # [NUM_BLOCKS]
    ties_before = tl.zeros([NUM_BLOCKS], tl.int32)
    cut = tl.where(draws, LOWEST_KEY, keys_of(top))
    ties = tl.where(draws, VOCAB, 1)
    size = tl.full([], BLOCK + 1, tl.int32)
    if draws & (((top_k > 0) & (top_k < VOCAB)) | (top_p < 1) | (min_p > 0)):
        mass = tl.sum(masses, axis=0)
        cut, ties, size = filtered(
            list_ptr, row_ptr, peaks, mass, top, scale, top_k, top_p, min_p, VOCAB, BLOCK
        )
        if size > BLOCK:
            masses, ties_before = survey_kept(
                row_ptr, cut, ties, top, scale, VOCAB, BLOCK, NUM_BLOCKS
            )

    numbers = tl.arange(0, NUM_BLOCKS)
    mass = tl.sum(masses, axis=0)
    target = tl.where(draws, uniform, 0.0) * mass
    block = first_over(tl.cumsum(masses, axis=0), masses, target)
    before = tl.sum(tl.where(numbers < block, masses, 0.0), axis=0)
    ties -= tl.sum(tl.where(numbers == block, ties_before, 0), axis=0)
    ids = block * BLOCK + tl.arange(0, BLOCK)
    listed = ids < VOCAB
    if size <= BLOCK:
        ids, listed = load_listed(list_ptr, size, BLOCK)
    x = load_logits(row_ptr, ids, listed)
    keys = keys_of(x)
    equal = keys == cut
    kept = (keys > cut) | (equal & (tl.cumsum(equal.to(tl.int32), axis=0) <= ties))
    weights = tl.where(kept, tl.exp2((x - top) * scale), 0.0)
    if size <= BLOCK:
        mass = tl.sum(weights, axis=0).to(tl.float64)
        target, before = uniform * mass, 0.0 * mass
    place = first_over(tl.cumsum(weights, axis=0), weights, (target - before).to(tl.float32))
    chosen = tl.arange(0, BLOCK) == place
    logit = tl.max(tl.where(chosen, x, float("-inf")), axis=0)
    logprob = (logit - top) * scale * LN_2 - tl.log(tl.where(mass > 0, mass, 1.0).to(tl.float32))
    logprob = tl.where(draws, tl.minimum(logprob, 0.0), 0.0)
    tl.store(token_ptr + row, tl.sum(tl.where(chosen, ids, 0), axis=0).to(tl.int64))
    tl.store(logprob_ptr + row, tl.where(highest > float("-inf"), logprob, float("nan")))


def sample_tokens(
    token: Tensor,
    logprob: Tensor,
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    min_p: Tensor,
    uniform: Tensor,
) -> None:
    R, V = logits.shape
    if R == 0:
        return
    num_blocks = max(LEAST_BLOCKS, triton.next_power_of_2(triton.cdiv(V, BLOCK)))
    lists = torch.empty(R, BLOCK, dtype=torch.int32, device=logits.device)
    with torch.cuda.device(logits.get_device()):
        sample_tokens_kernel[(R,)](
            token, logprob, lists, logits, temperature, top_k, top_p, min_p, uniform,
            VOCAB=V, BLOCK=BLOCK, NUM_BLOCKS=num_blocks, **OPTIONS,
        )  # fmt: skip
