"""Every operation of the engine, each declared once in the file of its name."""

from __future__ import annotations

from t2engine.ops._attention_plan import AttentionPlan, plan_attention
from t2engine.ops._huge_pages import Arena, huge_empty
from t2engine.ops._op import BackendUnavailableError, Op, load_function
from t2engine.ops._packed_weight import (
    PANEL,
    QUAD,
    PackedWeight,
    pack_strips,
    pack_weight,
    packed_shapes,
)
from t2engine.ops._prefix_choices import PREFIX_CHOICES, PrefixChoice
from t2engine.ops.gelu import gelu
from t2engine.ops.hadamard import hadamard, largest_block
from t2engine.ops.layer_norm import layer_norm
from t2engine.ops.linear import linear
from t2engine.ops.merge_states import merge_states
from t2engine.ops.philox_uniform import philox_uniform
from t2engine.ops.prefill_attention import prefill_attention
from t2engine.ops.rms_norm import rms_norm
from t2engine.ops.rope_append import rope_append
from t2engine.ops.rotary_embedding import rotary_embedding
from t2engine.ops.sample_tokens import sample_tokens
from t2engine.ops.shared_prefix_attention import shared_prefix_attention
from t2engine.ops.silu_mul import silu_mul
from t2engine.ops.slab_attention import planned, slab_attention
from t2engine.ops.step_update import step_update
from t2engine.ops.store_vectors import (
    QuantizedVectors,
    Vectors,
    empty_vectors,
    flat_vectors,
    store_vectors,
)
from t2engine.ops.tree_attention import SHARING_BLOCK, tree_attention

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        shared_prefix_attention,
        tree_attention,
        merge_states,
        prefill_attention,
        linear,
        rms_norm,
        layer_norm,
        rotary_embedding,
        silu_mul,
        gelu,
        hadamard,
        sample_tokens,
        philox_uniform,
        store_vectors,
        slab_attention,
        rope_append,
        step_update,
    )
}

__all__ = [
    "OPS",
    "PANEL",
    "PREFIX_CHOICES",
    "QUAD",
    "SHARING_BLOCK",
    "Arena",
    "AttentionPlan",
    "BackendUnavailableError",
    "Op",
    "PackedWeight",
    "PrefixChoice",
    "QuantizedVectors",
    "Vectors",
    "empty_vectors",
    "flat_vectors",
    "gelu",
    "hadamard",
    "huge_empty",
    "largest_block",
    "layer_norm",
    "linear",
    "load_function",
    "merge_states",
    "pack_strips",
    "pack_weight",
    "packed_shapes",
    "philox_uniform",
    "plan_attention",
    "planned",
    "prefill_attention",
    "rms_norm",
    "rope_append",
    "rotary_embedding",
    "sample_tokens",
    "shared_prefix_attention",
    "silu_mul",
    "slab_attention",
    "step_update",
    "store_vectors",
    "tree_attention",
]
