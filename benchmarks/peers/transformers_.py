"""transformers' generate: the prompt's keys and values computed once and repeated for every sample.

`generate(num_return_sequences=k)` alone would prefill the prompt k times. With the cache of all but
the prompt's last token at hand, every pass of `generate` is a decode step. Making k copies of the
cache is not timed.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.peers.protocol import RefusedError, Timing, refuse_beyond_memory, serve

ONE_MODE = "prompt cache, repeated"
DTYPES = ("float32", "bfloat16")


def available() -> str | None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


class Transformers:
    def versions(self) -> dict[str, str]:
        import torch
        import transformers

        return {"transformers": transformers.__version__, "torch": torch.__version__}

    def modes(self, num_samples: int) -> list[str]:
        return [ONE_MODE]

    def load(self, model_dir: Path, precision: str, threads: int) -> None:
        import torch
        import transformers

        if precision not in DTYPES:
            raise RefusedError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        dtype = getattr(torch, precision)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype)
        self.model.eval()

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing:
        import torch
        from transformers import DynamicCache

        config = self.model.config
        widths = 2 * config.num_key_value_heads * config.head_dim * config.num_hidden_layers
        cache_tokens = num_samples * (len(prompt_ids) + new_tokens)
        refuse_beyond_memory(widths * self.model.dtype.itemsize * cache_tokens)
        torch.manual_seed(seed)
        prompt = torch.tensor([prompt_ids])
        began = time.perf_counter()
        with torch.inference_mode():
            cache = DynamicCache(config=self.model.config)
            self.model(prompt[:, :-1], past_key_values=cache, logits_to_keep=1)
        prefilled = time.perf_counter()
        with torch.inference_mode():
            cache.batch_repeat_interleave(num_samples)
            copied = time.perf_counter()
            ids = self.model.generate(
                prompt.repeat(num_samples, 1),
                past_key_values=cache,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                eos_token_id=None,
                pad_token_id=0,
            )
        ended = time.perf_counter()
        assert ids.shape == (num_samples, len(prompt_ids) + new_tokens)
        return Timing(prefilled - began, ended - copied, num_samples * new_tokens)


if __name__ == "__main__":
    serve(Transformers, available)
