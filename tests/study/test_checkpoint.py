from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from t2engine.model.llama import initialise
from t2engine.study.checkpoint import atomic_directory, load_model, save_model
from t2engine.study.ladder import Recipe, build_run, shape
from t2engine.study.tasks.arithmetic import ARITHMETIC
from t2engine.study.tokenizer import (
    BOS_ID,
    EOS_ID,
    SYMBOLS,
    TOKEN_IDS,
    VOCAB_SIZE,
    build_tokenizer,
    encode,
)


def shake(model: torch.nn.Module) -> None:
    """Gains of one would hide a mistake in their place."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("saved")
    model = initialise(shape(100_000), seed=2)
    shake(model)
    save_model(directory, model)
    return directory


def test_transformers_computes_the_same_logits(saved: Path):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved)
    token_ids = torch.randint(0, VOCAB_SIZE, (5, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        want = theirs(token_ids).logits
        got = load_model(saved)(token_ids)
    assert want.abs().max() > 1
    assert torch.allclose(got, want, atol=1e-4, rtol=0)


def test_transformers_reads_the_tokenizer(saved: Path):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(saved)
    assert theirs.bos_token_id == BOS_ID
    assert theirs.eos_token_id == EOS_ID
    for question in ARITHMETIC.held_out_questions(20, seed=0):
        token_ids = theirs(question.prompt)["input_ids"]
        assert token_ids == [BOS_ID, *encode(question.prompt)]
        assert theirs.decode(token_ids, skip_special_tokens=True) == question.prompt
        answer = [*encode(question.completion), EOS_ID]
        assert theirs.decode(answer, skip_special_tokens=True) == question.completion


def test_tokenizer_gives_every_symbol_one_token():
    tokenizer = build_tokenizer()
    assert tokenizer.get_vocab() == TOKEN_IDS
    for symbol in SYMBOLS:
        assert tokenizer.encode(symbol).ids == [BOS_ID, TOKEN_IDS[symbol]]
        assert tokenizer.decode([TOKEN_IDS[symbol]]) == symbol
    text = SYMBOLS + SYMBOLS[::-1]
    assert tokenizer.decode(encode(text)) == text


def test_saved_model_is_read_back_bit_for_bit(saved: Path):
    model = initialise(shape(100_000), seed=2)
    shake(model)
    read = load_model(saved)
    assert read.config == model.config
    for name, weight in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], weight), name


@pytest.mark.parametrize("N", [36_000, 100_000, 1_000_000])
def test_heads_share_keys(N: int):
    config = shape(N)
    assert config.num_heads % config.num_kv_heads == 0
    assert config.num_kv_heads < config.num_heads


def fail_half_way(directory: Path) -> None:
    (directory / "file").write_text("x")
    raise RuntimeError("half way")


def test_a_directory_is_written_whole_or_not_at_all(tmp_path: Path):
    with (
        pytest.raises(RuntimeError, match="half way"),
        atomic_directory(tmp_path / "run") as partial,
    ):
        fail_half_way(partial)
    assert list(tmp_path.iterdir()) == []
    with atomic_directory(tmp_path / "run") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "run").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "file"]


def test_config_is_read_by_old_and_new_names(saved: Path):
    fields = json.loads((saved / "config.json").read_text())
    assert fields["architectures"] == ["LlamaForCausalLM"]
    assert fields["tie_word_embeddings"] is True
    names = {path.name for path in saved.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} < names
    assert build_run(10_000, 1, ("arithmetic",), Recipe()).config.vocab_size == fields["vocab_size"]
