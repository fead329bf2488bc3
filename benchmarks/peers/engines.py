"""Every engine that can be measured, and the precisions it offers."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "t2"
LLAMA_CPP = "llama_cpp"
EQUAL_BYTES = {"float32": "f32", "bfloat16": "f16", "float16": "f16", "int8": "q8_0"}  # its weights


@dataclass(frozen=True)
class Engine:
    module: str  # its adapter, in this folder
    title: str  # heads its columns
    precisions: tuple[str, ...]


ENGINES = {
    OURS: Engine("t2", "t2engine", ("float32", "bfloat16", "float16", "int8")),
    LLAMA_CPP: Engine("llama_cpp", "llama.cpp", ("f32", "f16", "q8_0")),
    "openvino": Engine("openvino_genai", "OpenVINO", ("default", "f32", "f32-f32", "int8")),
    "transformers": Engine("transformers_", "transformers", ("float32", "bfloat16")),
    "torch": Engine("plain_torch", "torch, shared prefix", ("float32", "bfloat16")),
}


@dataclass(frozen=True)
class Column:
    """One engine at one precision."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.precision}"

    @property
    def module(self) -> str:
        return f"benchmarks.peers.{ENGINES[self.engine].module}"


ALL = tuple(Column(name, p) for name, engine in ENGINES.items() for p in engine.precisions)


def parse_columns(text: str) -> list[Column]:
    """An engine, or one precision of it as engine:precision. Raises: ValueError."""
    name, _, precision = text.partition(":")
    found = [c for c in ALL if c.engine == name and precision in ("", c.precision)]
    if not found:
        known = ", ".join(map(str, ALL))
        raise ValueError(f"an engine must be one of {known} or its name alone, got {text!r}")
    return found
