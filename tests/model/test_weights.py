from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from t2engine.model import weights
from t2engine.model.config import read_config
from t2engine.model.safetensors import map_rows
from t2engine.model.weights import WeightFiles, open_weights
from t2engine.ops import PANEL
from tests.model.tiny import TINY_MODELS, rewrite_config, write_tiny_model

WEIGHTS = "model.safetensors"
FINAL_NORM = "model.norm.weight"
NORM = "model.layers.1.input_layernorm.weight"
LOAD_IN_A_FRESH_PROCESS = """
import resource, sys, torch
from pathlib import Path
from t2engine.model import weights
from t2engine.model.config import read_config
from t2engine.model.safetensors import map_rows
from t2engine.model.weights import open_weights
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
files = open_weights(Path(sys.argv[1]), read_config(Path(sys.argv[1])))
before = peak()
def packed(name):
    return files.load_packed(name, torch.float32, 2)
kept = [{load}(name) for name in files.names if len(files.shape(name)) == 2]
print(peak() - before, 4 * files.num_params)
"""


def tiny(directory: Path, family: str = "llama", **overrides) -> Path:
    return write_tiny_model(directory, family, tokenizer=False, **overrides)


def opened(directory: Path) -> WeightFiles:
    return open_weights(directory, read_config(directory))


def edit(directory: Path, change) -> None:
    """Rewrite the weights file after `change` has altered its tensors."""
    tensors = load_file(directory / WEIGHTS)
    change(tensors)
    save_file(tensors, directory / WEIGHTS)


def expected(parameters: dict[str, Tensor], name: str, config) -> Tensor:
    """One tensor of the common vocabulary, from transformers' own parameters."""
    neox = config.family == "gpt_neox"
    if name in ("embed", "lm_head"):
        return parameters[name]
    if name.startswith("final_norm"):
        end = name.split(".")[1]
        return parameters[f"gpt_neox.final_layer_norm.{end}" if neox else f"model.norm.{end}"]
    _, layer, part, *end = name.split(".")
    prefix = f"gpt_neox.layers.{layer}." if neox else f"model.layers.{layer}."
    end = end[0] if end else "weight"
    modules = {
        "attn_norm": ["input_layernorm"],
        "mlp_norm": ["post_attention_layernorm"],
        "q_norm": ["self_attn.q_norm"],
        "k_norm": ["self_attn.k_norm"],
        "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "out": ["attention.dense" if neox else "self_attn.o_proj"],
        "up": ["mlp.dense_h_to_4h"] if neox else ["mlp.gate_proj", "mlp.up_proj"],
        "down": ["mlp.dense_4h_to_h" if neox else "mlp.down_proj"],
    }
    if neox and part == "qkv":
        fused = parameters[f"{prefix}attention.query_key_value.{end}"]
        per_head = fused.view(config.num_heads, 3, config.head_dim, -1)
        return per_head.transpose(0, 1).reshape(fused.shape)
    return torch.cat([parameters[f"{prefix}{module}.{end}"] for module in modules[part]])


@pytest.mark.parametrize("name", TINY_MODELS)
def test_every_tensor_is_that_of_transformers(tmp_path, name):
    family, overrides = TINY_MODELS[name]
    tiny(tmp_path, family, **overrides)
    config, files = read_config(tmp_path), opened(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    parameters = {key: value.detach() for key, value in model.named_parameters()}
    parameters["embed"] = model.get_input_embeddings().weight.detach()
    parameters["lm_head"] = model.get_output_embeddings().weight.detach()
    for ours in files.names:
        loaded = files.load(ours)
        assert loaded.dtype == torch.float32
        assert tuple(loaded.shape) == files.shape(ours), ours
        assert torch.equal(loaded, expected(parameters, ours, config)), ours
    assert files.num_params == sum(p.numel() for p in model.parameters())
    assert files.bytes == 4 * files.num_params
    assert f"layers.{config.num_layers}.qkv.weight" not in files.names


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_dtype_converts_to_every_other(tmp_path, stored, wanted):
    tiny(tmp_path, dtype=stored)
    tensors = load_file(tmp_path / WEIGHTS)
    files = opened(tmp_path)
    assert torch.equal(files.load("lm_head", wanted), tensors["lm_head.weight"].to(wanted))
    assert torch.equal(files.load("final_norm.weight", wanted), tensors[FINAL_NORM].to(wanted))
    assert files.bytes == stored.itemsize * files.num_params


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_shards_hold_the_same_model(tmp_path, family):
    whole = opened(tiny(tmp_path / "whole", family))
    shards = opened(tiny(tmp_path / "shards", family, max_shard_size="64KB"))
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert whole.names == shards.names
    for name in whole.names:
        assert torch.equal(whole.load(name), shards.load(name))


def test_an_affine_has_a_bias_where_the_model_has_one(tmp_path):
    qwen2 = opened(tiny(tmp_path / "qwen2", "qwen2"))
    qkv, out = qwen2.load_affine("layers.1.qkv"), qwen2.load_affine("layers.1.out")
    assert torch.equal(qkv.weight, qwen2.load("layers.1.qkv.weight"))
    assert torch.equal(qkv.bias, qwen2.load("layers.1.qkv.bias"))
    assert out.bias is None
    assert opened(tiny(tmp_path / "neox", "gpt_neox")).load_affine("final_norm").bias.shape == (64,)


@pytest.mark.parametrize("load", ["files.load", "packed"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
def test_memory_holds_the_model_once(tmp_path, stored, load):
    """Loading may take the float32 tensors and a few small buffers; nothing stays mapped."""
    sizes = {"vocab_size": 24000, "hidden_size": 512, "num_attention_heads": 8}
    tiny(tmp_path, dtype=stored, **sizes)
    script = LOAD_IN_A_FRESH_PROCESS.replace("{load}", load)
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    grown, model_bytes = map(int, result.stdout.split())
    assert model_bytes > 90 * 2**20
    assert grown < model_bytes + 24 * 2**20


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", TINY_MODELS)
def test_strips_are_whole_panels_of_the_file(tmp_path, monkeypatch, name, stored):
    """Only the panel that straddles two stored pieces is copied."""
    family, overrides = TINY_MODELS[name]
    tiny(tmp_path, family, dtype=stored, **overrides)
    files = opened(tmp_path)
    mapped = set()

    def map_and_note(*args):
        rows = map_rows(*args)
        mapped.add(rows.data_ptr())
        return rows

    monkeypatch.setattr(weights, "map_rows", map_and_note)
    monkeypatch.setattr(weights, "STRIP_BYTES", 1 << 12)
    for ours in files.names:
        if len(files.shape(ours)) != 2:
            continue
        strips = list(files.strips(ours))
        assert torch.equal(torch.cat([strip.float() for strip in strips]), files.load(ours))
        assert all(len(strip) % PANEL == 0 for strip in strips[:-1])
        ends = itertools.accumulate(count for _, _, count in files.recipes[ours].segments())
        straddled = {end // PANEL for end in ends if end % PANEL and end < files.shape(ours)[0]}
        copied = [strip for strip in strips if strip.data_ptr() not in mapped]
        assert len(copied) == len(straddled), ours


def test_tensors_that_are_not_aligned_are_read(tmp_path):
    tiny(tmp_path)
    want = {name: opened(tmp_path).load(name) for name in opened(tmp_path).names}
    whole = (tmp_path / WEIGHTS).read_bytes()
    header_bytes = int.from_bytes(whole[:8], "little")
    header, data = whole[8 : 8 + header_bytes], whole[8 + header_bytes :]
    (tmp_path / WEIGHTS).write_bytes(
        (header_bytes + 1).to_bytes(8, "little") + header + b" " + data
    )
    files = opened(tmp_path)
    assert all(torch.equal(files.load(name), tensor) for name, tensor in want.items())
    panels = files.load_packed("lm_head", torch.float32, 1)
    assert torch.equal(panels.unpack(), want["lm_head"])


# ---- what is refused, and what is ignored ----------------------------------------------------


def test_old_buffers_are_ignored(tmp_path):
    def add_buffers(tensors):
        tensors["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool)
        tensors["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
        tensors["gpt_neox.layers.1.attention.rotary_emb.inv_freq"] = torch.ones(2)

    tiny(tmp_path, "gpt_neox")
    names = opened(tmp_path).names
    edit(tmp_path, add_buffers)
    assert opened(tmp_path).names == names


def test_a_stored_copy_of_a_tied_embedding_must_be_a_copy(tmp_path):
    def add_copy(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    def change_copy(tensors):
        tensors["lm_head.weight"][-1, -1] += 1

    tiny(tmp_path, tie_word_embeddings=True)
    num_params = opened(tmp_path).num_params
    edit(tmp_path, add_copy)
    files = opened(tmp_path)
    assert files.num_params == num_params
    assert torch.equal(files.load("lm_head"), files.load("embed"))
    edit(tmp_path, change_copy)
    with pytest.raises(ValueError, match=r"lm_head\.weight must equal .*tie_word_embeddings"):
        opened(tmp_path)


def test_a_tensor_nobody_reads_is_refused(tmp_path):
    tiny(tmp_path, attention_bias=True)
    rewrite_config(tmp_path, attention_bias=False)
    with pytest.raises(ValueError, match=r"unexpected tensor .*_proj\.bias"):
        opened(tmp_path)


def test_a_missing_tensor_is_named(tmp_path):
    edit(tiny(tmp_path), lambda tensors: tensors.pop(NORM))
    with pytest.raises(ValueError, match=rf"missing tensor: expected {NORM} \[64\]"):
        opened(tmp_path)


def test_more_layers_than_stored_is_a_missing_tensor(tmp_path):
    config = dataclasses.replace(read_config(tiny(tmp_path)), num_layers=2**31)
    with pytest.raises(ValueError, match=r"missing tensor: expected model\.layers\.2\."):
        open_weights(tmp_path, config)


def test_a_wrong_shape_is_named(tmp_path):
    edit(tiny(tmp_path), lambda tensors: tensors.update({NORM: torch.ones(63)}))
    with pytest.raises(ValueError, match=rf"{NORM} must have shape \[64\].*got \[63\]"):
        opened(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, torch.float8_e4m3fn], ids=str)
def test_a_wrong_dtype_is_named(tmp_path, dtype):
    edit(tiny(tmp_path), lambda tensors: tensors.update({NORM: torch.ones(64).to(dtype)}))
    with pytest.raises(ValueError, match=rf"{NORM} must be stored as F32, BF16, F16, got"):
        opened(tmp_path)


def test_no_weights_at_all(tmp_path):
    (tiny(tmp_path) / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"weights must be in model\.safetensors.*found neither"):
        opened(tmp_path)
