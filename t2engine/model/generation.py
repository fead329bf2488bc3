"""The token ids that begin, end and pad a text, and the sampling values a model's authors suggest.

generation_config.json goes before config.json, and neither needs to have them.

Raises: ValueError naming the field, what it must be and what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from t2engine.model.fields import Fields, as_float, read_fields


@dataclass(frozen=True)
class GenerationDefaults:
    """What a model directory says about generation; None where it is silent."""

    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    pad_token_id: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None


def read_generation_config(model_dir: Path) -> GenerationDefaults:
    sources = [read_fields(Path(model_dir) / "config.json")]
    own = Path(model_dir) / "generation_config.json"
    defaults = Fields(str(own), {})
    if own.is_file():
        defaults = read_fields(own)
        sources.insert(0, defaults)
    return GenerationDefaults(
        eos_token_ids=first_ids(sources, "eos_token_id"),
        bos_token_id=next(iter(first_ids(sources, "bos_token_id")), None),
        pad_token_id=next(iter(first_ids(sources, "pad_token_id")), None),
        temperature=in_range(defaults, "temperature", 0.0, float("inf")),
        top_p=in_range(defaults, "top_p", 0.0, 1.0),
        top_k=defaults.integer("top_k", minimum=0) if "top_k" in defaults else None,
    )


def first_ids(sources: list[Fields], name: str) -> tuple[int, ...]:
    """The ids of the first file that has the field: one id or a list; a negative one means none."""
    for fields in sources:
        if name in fields:
            value = fields.values[name]
            ids = value if isinstance(value, list) else [value]
            if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
                raise fields.fail(name, "a token id or a list of token ids")
            return tuple(i for i in ids if i >= 0)
    return ()


def in_range(fields: Fields, name: str, low: float, high: float) -> float | None:
    if name not in fields:
        return None
    value = as_float(fields.values[name])
    if value is None or not low <= value <= high:
        raise fields.fail(name, f"a finite number from {low:g} to {high:g}")
    return value
