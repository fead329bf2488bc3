"""Where the filters of kernels/sample_tokens.py cut the order by falling logit, without a sort.

A logit stands for an integer key of the same order. A cut is the largest key from which on the
tokens measure, by count or by mass, at least a goal; it is found by narrowing a range of keys, a
pass over the row trying three at once, until the tokens of the range fit a list of one block. Sums
are taken in one fixed order.
"""

from __future__ import annotations

import triton
import triton.language as tl

LARGEST = tl.constexpr(3.4028234663852886e38)
STAGES = tl.constexpr(3)  # blocks read ahead while one is summed
BY_VALUE = tl.constexpr(8)  # passes that divide the range of logits; later ones that of keys

PEAK_STEPS = tl.constexpr(5)  # to a thousandth of the range: a lower bound need not be close


@triton.jit
def keys_of(x):
    """Integers in the order of float32s, of which none is -0."""
    bits = x.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def value_of(key):
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def load_logits(row_ptr, ids, mask):
    """In float32; what cannot be drawn is -inf, equal values have equal bits."""
    x = tl.load(row_ptr + ids, mask=mask, other=float("-inf")).to(tl.float32)
    x = tl.where(x == x, tl.minimum(x, LARGEST), float("-inf"))
    return tl.where(x == 0.0, 0.0, x)


@triton.jit
def load_block(row_ptr, block, VOCAB: tl.constexpr, BLOCK: tl.constexpr):
    ids = block * BLOCK + tl.arange(0, BLOCK)
    return load_logits(row_ptr, ids, ids < VOCAB)


@triton.jit
def load_listed(list_ptr, size, BLOCK: tl.constexpr):
    """The ids of the list's tokens, in order, and which of them there are."""
    lanes = tl.arange(0, BLOCK)
    return tl.load(list_ptr + lanes, mask=lanes < size, other=0), lanes < size


@triton.jit
def gather(list_ptr, row_ptr, low, high, VOCAB: tl.constexpr, BLOCK: tl.constexpr):
    """Lists the tokens whose keys are in [low, high]; how many, or more than BLOCK."""
    size = tl.zeros([], tl.int32)
    block = tl.zeros([], tl.int32)
    tl.debug_barrier()  # nobody reads the list of before any more
    while (block * BLOCK < VOCAB) & (size <= BLOCK):
        keys = keys_of(load_block(row_ptr, block, VOCAB, BLOCK))
        found = ((keys >= low) & (keys <= high)).to(tl.int32)
        to = size + tl.cumsum(found, axis=0) - 1
        ids = block * BLOCK + tl.arange(0, BLOCK)
        tl.store(list_ptr + to, ids, mask=(found != 0) & (to < BLOCK))
        size += tl.sum(found, axis=0)
        block += 1
    tl.debug_barrier()  # the list is whole
    return size


@triton.jit
def measures_of(x, top, scale, BY_MASS: tl.constexpr):
    """What each token adds: 1, or its weight."""
    return tl.exp2((x - top) * scale) if BY_MASS else tl.full(x.shape, 1.0, tl.float32)


@triton.jit
def total(x):
    return tl.sum(x, axis=0).to(tl.float64)


@triton.jit
def tried(low, high, step):
    """Three keys in (low, high], rising; high > low."""
    wide = high.to(tl.int64) - low
    bottom, top = value_of(low), value_of(high)
    by_value = step < BY_VALUE
    key1 = tl.where(by_value, keys_of(0.75 * bottom + 0.25 * top), low + (wide + 3) // 4)
    key2 = tl.where(by_value, keys_of(0.5 * bottom + 0.5 * top), low + (2 * wide + 3) // 4)
    key3 = tl.where(by_value, keys_of(0.25 * bottom + 0.75 * top), low + (3 * wide + 3) // 4)
    key1 = tl.minimum(tl.maximum(key1, low + 1), high).to(tl.int32)
    key2 = tl.minimum(tl.maximum(key2, key1), high).to(tl.int32)
    key3 = tl.minimum(tl.maximum(key3, key2), high).to(tl.int32)
    return key1, key2, key3


@triton.jit
def narrowed(low, high, above, key1, key2, key3, from1, from2, from3, goal):
    """The range with the keys tried, and the measure from each on; it is smaller in any case.

    above: the measure of the keys above high.
    """
    reached1, reached2, reached3 = from1 >= goal, from2 >= goal, from3 >= goal
    low = tl.where(reached3, key3, tl.where(reached2, key2, tl.where(reached1, key1, low)))
    new = tl.where(reached2, key3 - 1, tl.where(reached1, key2 - 1, key1 - 1))
    over = tl.where(reached2, from3, tl.where(reached1, from2, from1))
    return low, tl.where(reached3, high, new), tl.where(reached3, above, over)


@triton.jit
def snapped(keys, low, high):
    """The range from the smallest to the largest key in it; one key if there is none."""
    inside = (keys >= low) & (keys <= high)
    low = tl.min(tl.where(inside, keys, high), axis=0)
    return low, tl.max(tl.where(inside, keys, low), axis=0)


@triton.jit
def measure_row(
    row_ptr, key1, key2, key3, top, scale,
    BY_MASS: tl.constexpr,
    VOCAB: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The measure of the row's tokens from each key on."""
    sum1 = tl.zeros([BLOCK], tl.float32)
    sum2 = tl.zeros([BLOCK], tl.float32)
    sum3 = tl.zeros([BLOCK], tl.float32)
    for block in tl.range(0, tl.cdiv(VOCAB, BLOCK), num_stages=STAGES):
        x = load_block(row_ptr, block, VOCAB, BLOCK)
        keys, one = keys_of(x), measures_of(x, top, scale, BY_MASS)
        sum1 += tl.where(keys >= key1, one, 0.0)
        sum2 += tl.where(keys >= key2, one, 0.0)
        sum3 += tl.where(keys >= key3, one, 0.0)
    return total(sum1), total(sum2), total(sum3)


@triton.jit
def find_cut(
    list_ptr, row_ptr, size, low, high, goal, top, scale,
    BY_MASS: tl.constexpr,
    VOCAB: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The cut in [low, high], or low if all measure less, and the measure of the keys above it.

    size: of the list of the tokens in the range, or more than BLOCK. No key is above high.
    """
    above = goal * 0.0
    step = tl.zeros([], tl.int32)
    while (low < high) & (size > BLOCK):
        key1, key2, key3 = tried(low, high, step)
        from1, from2, from3 = measure_row(
            row_ptr, key1, key2, key3, top, scale, BY_MASS, VOCAB, BLOCK
        )
        low, high, above = narrowed(
            low, high, above, key1, key2, key3, from1, from2, from3, goal
        )  # fmt: skip
        size = gather(list_ptr, row_ptr, low, high, VOCAB, BLOCK)
        step += 1
    if low < high:
        ids, listed = load_listed(list_ptr, size, BLOCK)
        x = load_logits(row_ptr, ids, listed)
        keys, one = keys_of(x), measures_of(x, top, scale, BY_MASS)
        beyond = above  # of what is not in the list
        low, high = snapped(keys, low, high)
        step = step * 0
        while low < high:
            key1, key2, key3 = tried(low, high, step)
            from1 = beyond + total(tl.where(keys >= key1, one, 0.0))
            from2 = beyond + total(tl.where(keys >= key2, one, 0.0))
            from3 = beyond + total(tl.where(keys >= key3, one, 0.0))
            low, high, above = narrowed(
                low, high, above, key1, key2, key3, from1, from2, from3, goal
            )  # fmt: skip
            low, high = snapped(keys, low, high)
            step += 1
    return low, above


@triton.jit
def bound_by_peaks(peaks, low, high, top_k):
    """A key not above the top_k-th largest: so many peaks reach it, each of other tokens."""
    keys = keys_of(peaks)
    step = tl.zeros([], tl.int32)
    while (low < high) & (step < PEAK_STEPS):
        key1, key2, key3 = tried(low, high, step)
        from1 = tl.sum((keys >= key1).to(tl.int32), axis=0)
        from2 = tl.sum((keys >= key2).to(tl.int32), axis=0)
        from3 = tl.sum((keys >= key3).to(tl.int32), axis=0)
        low, high, _ = narrowed(low, high, 0, key1, key2, key3, from1, from2, from3, top_k)
        step += 1
    return low


@triton.jit
def masses_at(list_ptr, row_ptr, size, cut, top, scale, VOCAB: tl.constexpr, BLOCK: tl.constexpr):
    """The mass from the cut on, and above it. size: of the list if it holds these tokens."""
    if size > BLOCK:
        mass, above, _ = measure_row(row_ptr, cut, cut + 1, cut + 1, top, scale, True, VOCAB, BLOCK)
    else:
        ids, listed = load_listed(list_ptr, size, BLOCK)
        x = load_logits(row_ptr, ids, listed)
        weights, keys = tl.exp2((x - top) * scale), keys_of(x)
        mass = total(tl.where(keys >= cut, weights, 0.0))
        above = total(tl.where(keys > cut, weights, 0.0))
    return mass, above
