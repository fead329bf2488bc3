"""The device's passes against transformers, and its options where there is no GPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from t2engine import LLM, SamplingParams
from t2engine.engine.device_attention import attend_to_prompt
from t2engine.ops import Op, prefill_attention, rms_norm
from tests.engine.device_harness import device_logits, llm_on_device, load_on_device
from tests.engine.harness import load_theirs, their_logits
from tests.engine.test_forward import TOLERANCE, some_tokens
from tests.model.tiny import TINY_MODELS, write_tiny_model

PROMPT = "the number of the answer and"


@pytest.fixture(scope="module", params=TINY_MODELS)
def model_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, overrides = TINY_MODELS[request.param]
    return write_tiny_model(tmp_path_factory.mktemp("model"), family, **overrides)


@pytest.mark.parametrize(("prompt_len", "invariant"), [(1, False), (17, False), (600, True)])
def test_logits_equal_transformers(model_dir: Path, prompt_len: int, invariant: bool) -> None:
    """invariant cuts the prompt into pieces of 128 tokens; own keys go through three slabs."""
    tokens = some_tokens(prompt_len + 9)
    want = their_logits(load_theirs(model_dir), tokens)[prompt_len - 1 :]
    got = device_logits(load_on_device(model_dir, invariant=invariant), tokens, prompt_len)
    assert (got - want).abs().max() <= TOLERANCE


@pytest.mark.parametrize("num_queries", [1, 5, 40])
def test_a_piece_attends_to_all_before_it(num_queries: int) -> None:
    g = torch.Generator().manual_seed(0)
    q = torch.randn(num_queries, 6, 16, generator=g).double()
    k, v = torch.randn(2, 2, 40, 16, generator=g).double()
    one = torch.tensor([0, 1])
    bounds, spans = torch.tensor([0, num_queries]), torch.tensor([[0, 40]])
    want = prefill_attention.reference(q, k, v, bounds, spans, one, 0.3)
    torch.testing.assert_close(attend_to_prompt(q, k, v, 0.3), want)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(n=5, seed=3, max_tokens=12, logprobs=2),
        SamplingParams(n=3, seed=3, max_tokens=20, repetition_penalty=1.3, min_tokens=4),
    ],
    ids=["logprobs", "penalties"],
)
def test_requests_that_need_every_token_run_too(tiny_dir: Path, params: SamplingParams) -> None:
    prompts = [PROMPT, "a question"]
    want = LLM(tiny_dir, max_num_seqs=4).generate(prompts, params)
    got = llm_on_device(tiny_dir, max_num_seqs=4).generate(prompts, params)
    for a, b in zip(want, got, strict=True):
        for x, y in zip(a.outputs, b.outputs, strict=True):
            assert (x.token_ids, x.text, x.finish_reason) == (y.token_ids, y.text, y.finish_reason)
            if params.logprobs is not None:
                assert y.cumulative_logprob == pytest.approx(x.cumulative_logprob, abs=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tiny_dir: Path) -> None:
    with pytest.raises(ValueError, match="device must be cpu or auto where torch finds no NVIDIA"):
        LLM(tiny_dir, device="cuda")
    assert LLM(tiny_dir, device="auto").generate(PROMPT)[0].outputs[0].token_ids


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as torch says; nothing can run on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype must be one of auto, float32, bfloat16, float16 on a GPU"),
        ({"kv_cache_dtype": "int8"}, "kv_cache_dtype must be auto or the dtype of the weights"),
        ({"packed_cache": True}, "instruction_set and packed_cache are of the CPU's kernels"),
    ],
)
@pytest.mark.usefixtures("a_gpu")
def test_what_a_gpu_cannot_hold_is_refused(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch, options: dict, message: str
) -> None:
    pick = Op.pick
    monkeypatch.setattr(
        Op, "pick", lambda op, device: "triton" if device == "cuda" else pick(op, device)
    )
    with pytest.raises(ValueError, match=message):
        LLM(tiny_dir, device="cuda", **options)
    assert LLM(tiny_dir, device="auto", **options).model.config.family == "llama"  # on the CPU


@pytest.mark.usefixtures("a_gpu")
def test_a_gpu_too_old_is_refused(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(ValueError, match=r"compute capability 8\.0 or newer, got 7\.5"):
        LLM(tiny_dir, device="cuda")


@pytest.mark.usefixtures("a_gpu")
def test_a_gpu_without_kernels_is_refused(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why_not = lambda op, backend, device: None if backend == "torch" else f"no {backend}"  # noqa: E731
    monkeypatch.setattr(Op, "why_not", why_not)
    monkeypatch.setattr(Op, "pick", Op.pick.__wrapped__)  # without what it remembers
    with pytest.raises(ValueError, match="no kernels to run: no cuda; no triton"):
        LLM(tiny_dir, device="cuda")


@pytest.mark.usefixtures("a_gpu")
@pytest.mark.parametrize(
    ("built", "capability", "reason"),
    [
        (["sm_80", "sm_90a"], (8, 9), None),
        (["sm_80", "sm_90a"], (9, 0), None),
        (["sm_80", "sm_90a"], (10, 0), "the extension has code for sm_80, sm_90a, the GPU is of"),
        (["sm_90a"], (8, 0), "the extension has code for sm_90a"),
        ([], (9, 0), "built without CUDA"),
    ],
)
def test_cuda_code_that_is_not_for_this_gpu_is_not_used(
    native: ModuleType, monkeypatch: pytest.MonkeyPatch, built: list, capability: tuple, reason: str
) -> None:
    monkeypatch.setattr(native, "cuda_architectures", built)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    found = rms_norm.why_not("cuda", "cuda")
    assert found is None if reason is None else reason in found
