from __future__ import annotations

import pytest
import torch

from t2engine.ops import QuantizedVectors, empty_vectors, flat_vectors, store_vectors
from t2engine.ops.store_vectors import quantize, widen

DTYPES = (torch.float32, torch.bfloat16, torch.int8)
TINY = torch.finfo(torch.float32).tiny


def parts(store):
    return (store.codes, store.scales) if isinstance(store, QuantizedVectors) else (store,)


def vectors(count, head_dim):
    g = torch.Generator().manual_seed(head_dim)
    x = torch.randn(count, head_dim, generator=g)
    return x * 10.0 ** torch.randint(-30, 30, (count, 1), generator=g)


@pytest.mark.parametrize("head_dim", [1, 7, 16, 40, 64, 80, 256])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_instruction_set_stores_the_bits_of_the_reference(dtype, head_dim, native):
    x = vectors(50, head_dim)
    at = torch.randperm(60)[:50]
    want = flat_vectors(empty_vectors(6, 10, head_dim, dtype=dtype))
    store_vectors(want, at, x, backend="torch")
    for isa in native.supported_isas:
        for threads in (1, 4):
            got = flat_vectors(empty_vectors(6, 10, head_dim, dtype=dtype))
            getattr(native, isa).store_vectors_cpu(got, at, x, threads)
            for a, b in zip(parts(got), parts(want), strict=True):
                assert torch.equal(a[at], b[at])


def test_only_what_is_named_is_written(backend):
    for dtype in DTYPES:
        store = flat_vectors(empty_vectors(9, 20, dtype=dtype))
        for part in parts(store):
            part.fill_(7)
        store_vectors(store, torch.tensor([4, 2]), vectors(2, 20), backend=backend)
        for part in parts(store):
            assert (part[[0, 1, 3, 5, 6, 7, 8]] == 7).all()


def test_a_code_is_within_half_a_step(backend):
    x = vectors(200, 64)
    store = empty_vectors(200, 64, dtype=torch.int8)
    store_vectors(store, torch.arange(200), x, backend=backend)
    error = (widen(store, torch.float64) - x.double()).abs()
    assert (error <= 0.5001 * store.scales[:, None].double()).all()
    assert (store.codes.abs().amax(dim=1) == 127).all()


def test_what_has_no_scale_is_zero_or_nan(backend):
    x = torch.ones(5, 20)
    x[1] = 0
    x[2, 3] = torch.nan
    x[3, 19] = -torch.inf
    x[4] = TINY  # its scale would be subnormal
    store = empty_vectors(5, 20, dtype=torch.int8)
    store_vectors(store, torch.arange(5), x, backend=backend)
    wide = widen(store, torch.float32)
    assert torch.equal(wide[:2].round(decimals=6), x[:2])
    assert wide[2:4].isnan().all()
    assert (wide[4] == 0).all()


def test_quantize_is_what_is_stored():
    x = vectors(30, 24)
    store = empty_vectors(30, 24, dtype=torch.int8)
    store_vectors(store, torch.arange(30), x, backend="torch")
    assert torch.equal(quantize(x).codes, store.codes)
    assert torch.equal(quantize(x).scales, store.scales)


def test_what_leaves_the_store_is_refused():
    store = torch.empty(4, 8)
    for at in (-1, 4):
        with pytest.raises(ValueError, match="store_vectors: at must"):
            store_vectors(store, torch.tensor([at]), torch.ones(1, 8), backend="cpp")


@pytest.mark.parametrize(
    ("store", "named"),
    [
        (torch.empty(4, 9), "store"),
        (torch.empty(4, 8, dtype=torch.float16), "store"),
        (QuantizedVectors(torch.empty(4, 8, dtype=torch.int8), torch.empty(5)), r"store\.scales"),
    ],
)
def test_a_wrong_store_is_named(store, named):
    with pytest.raises(ValueError, match=f"store_vectors: {named} must"):
        store_vectors(store, torch.tensor([0]), torch.ones(1, 8))
