"""What a careful user writes in eager torch: k samples that share the prompt's keys and values.

The prompt is prefilled once. In a step, all queries of a key head meet the shared prefix in one
matmul, each sample meets its own suffix in a batched one, and the two are merged by their lse:

    out = (exp(lse_a) out_a + exp(lse_b) out_b) / (exp(lse_a) + exp(lse_b))

Shapes: k samples, H heads, H_kv key heads, D head_dim, G = H / H_kv, P prompt tokens, t suffix.
Source: Hydragen, arXiv:2402.05099.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from benchmarks.peers.protocol import RefusedError, Timing, serve

ONE_MODE = "shared prefix"
DTYPES = ("float32", "bfloat16")


def available() -> str | None:
    try:
        import safetensors.torch  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


class PlainTorch:
    def versions(self) -> dict[str, str]:
        import torch

        return {"torch": torch.__version__}

    def modes(self, num_samples: int) -> list[str]:
        return [ONE_MODE]

    def load(self, model_dir: Path, precision: str, threads: int) -> None:
        import torch
        from safetensors.torch import load_file

        if precision not in DTYPES:
            raise RefusedError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
        torch.set_num_threads(threads)
        config = json.loads((model_dir / "config.json").read_text())
        self.H, self.H_kv = config["num_attention_heads"], config["num_key_value_heads"]
        self.D, self.num_layers = config["head_dim"], config["num_hidden_layers"]
        self.eps, self.theta = config["rms_norm_eps"], config["rope_theta"]
        self.dtype = getattr(torch, precision)
        files = load_file(model_dir / "model.safetensors")
        weights = {name: tensor.to(self.dtype) for name, tensor in files.items()}
        self.embed, self.head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
        self.final_norm = weights["model.norm.weight"]
        self.layers = []
        for index in range(self.num_layers):
            layer = {
                name.partition(f"layers.{index}.")[2].removesuffix(".weight"): tensor
                for name, tensor in weights.items()
                if f".layers.{index}." in name
            }
            qkv = torch.cat([layer[f"self_attn.{part}_proj"] for part in "qkv"])
            up = torch.cat([layer["mlp.gate_proj"], layer["mlp.up_proj"]])
            self.layers.append(layer | {"qkv": qkv, "up": up})

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing:
        import torch

        torch.manual_seed(seed)
        with torch.inference_mode():
            began = time.perf_counter()
            logits, prefix = self.prefill(torch.tensor(prompt_ids))
            prefilled = time.perf_counter()
            self.decode(logits, prefix, num_samples, new_tokens)
            ended = time.perf_counter()
        return Timing(prefilled - began, ended - prefilled, num_samples * (new_tokens - 1))

    def prefill(self, tokens):
        """Logits [1, V] after the prompt, and of each layer keys and values [H_kv, P, D]."""
        import torch

        prefix = []

        def attend(index, q, k, v):
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))  # [heads, P, D]
            prefix.append((k.contiguous(), v.contiguous()))
            out = torch.nn.functional.scaled_dot_product_attention(
                q[None], k[None], v[None], is_causal=True, enable_gqa=True
            )
            return out[0].transpose(0, 1)  # [P, H, D]

        hidden = self.forward(tokens, torch.arange(len(tokens)), attend)
        return self.logits(hidden[-1:]), prefix

    def decode(self, logits, prefix, num_samples, new_tokens):
        import torch

        prompt_len = prefix[0][0].shape[1]
        shape = self.num_layers, 2, num_samples, self.H_kv, new_tokens, self.D
        suffix = torch.empty(shape, dtype=self.dtype)
        tokens = self.sample(logits.expand(num_samples, -1))
        for step in range(new_tokens - 1):
            positions = torch.full((num_samples,), prompt_len + step)

            def attend(index, q, k, v, step=step):
                suffix[index, 0, :, :, step] = k
                suffix[index, 1, :, :, step] = v
                own = suffix[index, :, :, :, : step + 1]  # [2, k, H_kv, t, D]
                return self.attend_shared(q, *prefix[index], own[0], own[1])

            tokens = self.sample(self.logits(self.forward(tokens, positions, attend)))
        return tokens

    def attend_shared(self, q, prefix_k, prefix_v, suffix_k, suffix_v):
        """q [k, H, D]; prefix [H_kv, P, D]; suffix [k, H_kv, t, D]; out [k, H, D]."""
        import torch

        k, group = q.shape[0], self.H // self.H_kv
        grouped = q.view(k, self.H_kv, group, self.D) * self.D**-0.5
        flat = grouped.transpose(0, 1).reshape(self.H_kv, k * group, self.D)
        out_a, lse_a = weigh(flat @ prefix_k.transpose(1, 2), prefix_v)
        out_a = out_a.view(self.H_kv, k, group, self.D).transpose(0, 1)
        lse_a = lse_a.view(self.H_kv, k, group, 1).transpose(0, 1)
        out_b, lse_b = weigh(grouped @ suffix_k.transpose(2, 3), suffix_v)
        weight = torch.sigmoid(lse_a - lse_b)
        return (out_b + weight * (out_a - out_b)).reshape(k, self.H, self.D)

    def forward(self, tokens, positions, attend):
        """Hidden states [T, hidden] at the end; attend(layer, q, k, v) takes [T, heads, D]."""
        from torch.nn.functional import linear, silu

        cos, sin = self.rotary(positions)
        x = self.embed[tokens]
        heads = self.H, self.H_kv, self.H_kv
        for index, layer in enumerate(self.layers):
            qkv = linear(self.norm(x, layer["input_layernorm"]), layer["qkv"])
            q, k, v = qkv.view(len(tokens), -1, self.D).split(heads, dim=1)
            out = attend(index, rotate(q, cos, sin), rotate(k, cos, sin), v)
            x = x + linear(out.reshape(len(tokens), -1), layer["self_attn.o_proj"])
            up = linear(self.norm(x, layer["post_attention_layernorm"]), layer["up"])
            gate, up = up.chunk(2, dim=1)
            x = x + linear(silu(gate) * up, layer["mlp.down_proj"])
        return x

    def logits(self, hidden):
        from torch.nn.functional import linear

        return linear(self.norm(hidden, self.final_norm), self.head)

    def sample(self, logits):
        import torch

        return torch.multinomial(torch.softmax(logits.float(), dim=-1), 1)[:, 0]

    def norm(self, x, weight):
        from torch.nn.functional import rms_norm

        return rms_norm(x, weight.shape, weight, self.eps)

    def rotary(self, positions):
        """cos, sin [T, 1, D / 2]."""
        import torch

        exponents = torch.arange(0, self.D, 2) / self.D
        angles = positions[:, None, None] / self.theta**exponents
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)


def weigh(scores, values):
    """softmax(scores) @ values, and the log of the softmax's divisor."""
    import torch

    lse = torch.logsumexp(scores, dim=-1, keepdim=True)
    return torch.exp(scores - lse) @ values, lse


def rotate(x, cos, sin):
    import torch

    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


if __name__ == "__main__":
    serve(PlainTorch, available)
