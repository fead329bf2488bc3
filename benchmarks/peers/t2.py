"""t2engine beside its peers: LLM.generate, sampling included, times from its own meter."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.protocol import RefusedError, Timing, serve
from t2engine import LLM, SamplingParams, __version__
from t2engine.ops import linear

ONE_MODE = "generate"


def available() -> str | None:
    return linear.why_not("cpp")


class T2Engine:
    def versions(self) -> dict[str, str]:
        return {"t2engine": __version__}

    def modes(self, num_samples: int) -> list[str]:
        return [ONE_MODE]

    def load(self, model_dir: Path, precision: str, threads: int) -> None:
        try:
            self.llm = LLM(model_dir, device="cpu", dtype=precision, threads=threads)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing:
        params = SamplingParams(n=num_samples, max_tokens=new_tokens, seed=seed, ignore_eos=True)
        try:
            [output] = self.llm.generate([prompt_ids], params, progress=False)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        assert all(len(sample.token_ids) == new_tokens for sample in output.outputs)
        cost = output.cost
        # The first token is drawn from the prompt's logits: its draw is in decode_seconds too.
        tokens = num_samples * (new_tokens - 1)
        return Timing(cost.prefill_seconds, cost.decode_seconds, tokens)


if __name__ == "__main__":
    serve(T2Engine, available)
