"""llama.cpp through llama-cpp-python, as t2engine.hardware.llama_cpp runs it.

Precisions: f32, f16 and q8_0, of the matrices.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.gguf_file import write_gguf
from benchmarks.peers.protocol import RefusedError, Timing, refuse_beyond_memory, serve
from t2engine.hardware.llama_cpp import LlamaCppModel

PRECISIONS = ("f32", "f16", "q8_0")


def available() -> str | None:
    try:
        import gguf  # noqa: F401
        import llama_cpp  # noqa: F401
        import safetensors  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


class LlamaCpp:
    model: LlamaCppModel

    def versions(self) -> dict[str, str]:
        import llama_cpp

        built_for = llama_cpp.llama_cpp.llama_print_system_info().decode()
        return {"llama-cpp-python": llama_cpp.__version__, "system": built_for}

    def modes(self, num_samples: int) -> list[str]:
        return list(self.model.modes(num_samples))

    def load(self, model_dir: Path, precision: str, threads: int) -> None:
        if precision not in PRECISIONS:
            raise RefusedError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}"
            )
        try:
            self.model = LlamaCppModel(write_gguf(model_dir, precision), threads)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    def run(
        self, prompt_ids: list[int], num_samples: int, new_tokens: int, seed: int, mode: str
    ) -> Timing:
        shape = len(prompt_ids), num_samples, new_tokens, mode
        refuse_beyond_memory(self.model.cache_bytes(*shape))
        try:
            seconds = self.model.time_call(prompt_ids, num_samples, new_tokens, mode)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        decoding = seconds.first_step + seconds.other_steps
        return Timing(seconds.prefill, decoding, num_samples * new_tokens)


if __name__ == "__main__":
    serve(LlamaCpp, available)
