"""A Llama to train: RMSNorm, rotary embedding, grouped-query attention, SwiGLU, tied embeddings.

    x = x + o(attend(rotate(q), rotate(k), v))      q, k, v of norm(x)
    x = x + down(silu(gate(norm(x))) * up(norm(x)))
    logits = norm(x) @ embedding.T

Parameter names and the half-rotation layout of the rotary embedding are those of Hugging Face's
LlamaForCausalLM, so a state dict is a checkpoint. Rows are padded on the right: being causal, they
need no other mask.

Shapes: token_ids [S, T] -> logits [S, T, vocab_size]; S rows, T tokens, H heads, D head_dim.
Raises: ValueError when a config asks for anything else.
Source: Touvron et al., arXiv:2302.13971, section 2.2; Su et al., arXiv:2104.09864, equation 34.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from t2engine.schema import ModelConfig


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        query_size = config.num_heads * config.head_dim
        key_size = config.num_kv_heads * config.head_dim
        self.head_dim = config.head_dim
        self.queries_per_key = config.num_heads // config.num_kv_heads
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_size, bias=False)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        S, T, _ = x.shape
        query = self.q_proj(x).view(S, T, -1, self.head_dim).transpose(1, 2)  # [S, H, T, D]
        key = self.k_proj(x).view(S, T, -1, self.head_dim).transpose(1, 2)
        value = self.v_proj(x).view(S, T, -1, self.head_dim).transpose(1, 2)
        key = rotate(key, cos, sin).repeat_interleave(self.queries_per_key, dim=1)
        value = value.repeat_interleave(self.queries_per_key, dim=1)
        out = functional.scaled_dot_product_attention(
            rotate(query, cos, sin), key, value, is_causal=True
        )
        added: Tensor = self.o_proj(out.transpose(1, 2).reshape(S, T, -1))
        return added


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return added


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Body(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_layers)])
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)


class Llama(nn.Module):
    rotary: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        check_family(config)
        self.config = config
        self.model = Body(config)
        self.register_buffer("rotary", rotary_table(config), persistent=False)

    def forward(self, token_ids: Tensor) -> Tensor:
        x = self.model.embed_tokens(token_ids)
        cos, sin = self.rotary[:, : token_ids.shape[1]]  # [T, D] each
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return functional.linear(self.model.norm(x), self.model.embed_tokens.weight)


def check_family(config: ModelConfig) -> None:
    wanted = {
        "rotary_dim": config.head_dim,
        "rope_scaling": None,
        "norm": "rms",
        "activation": "silu",
        "gated_mlp": True,
        "parallel_residual": False,
        "qkv_bias": False,
        "output_bias": False,
        "mlp_bias": False,
        "qk_norm": False,
        "tied_embeddings": True,
    }
    for name, value in wanted.items():
        found = getattr(config, name)
        if found != value:
            raise ValueError(
                f"a model to train must have {name} = {value!r}, got {found!r}; only Llamas "
                "without biases, their embeddings tied, can be trained"
            )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)  # feature d turns with feature d + D/2
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def rotary_table(config: ModelConfig) -> Tensor:
    """cos and sin of position * theta ** (-2d/D), each pair's angle twice: [2, context, D]."""
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    positions = torch.arange(config.max_context_len, dtype=torch.float32)
    angles = torch.outer(positions, config.rope_theta**-pairs).repeat(1, 2)
    return torch.stack((angles.cos(), angles.sin()))


def initialise(config: ModelConfig, seed: int) -> Llama:
    """Normal weights of deviation 1/sqrt(hidden_size), less for what writes to the residual."""
    model = Llama(config)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            writes_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            scale = (2 * config.num_layers) ** -0.5 if writes_residual else 1.0
            std = scale * config.hidden_size**-0.5
            nn.init.normal_(weight, std=std, generator=generator)
    return model


def build_optimizer(
    model: Llama, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; matrices decay, the gains of the norms do not. The caller sets the learning rate."""
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    gains = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": gains, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=betas, fused=True)


def count_parameters(model: nn.Module) -> int:
    """All parameters, the tied embedding once."""
    return sum(weight.numel() for weight in model.parameters())
