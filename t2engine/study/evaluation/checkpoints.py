"""Which checkpoints are evaluated: the runs of a ladder, or those that a models.toml lists.

    [[model]]
    name = "pythia-70m"              # of its rows in the observations
    path = "models/pythia-70m"       # a Hugging Face directory; relative to this file
    D = 299_892_736_000              # training tokens
    N = 70_426_624                   # parameters; counted from config.json where left out
    dtype = "float32"                # of the weights, as in LLM; "auto" where left out
    chat = false                     # true puts questions through the model's chat template
    stop = ["\\n"]                    # texts that end an answer

Where `stop` is left out an answer ends with its line, or at the end token alone for a chat model
and for a tokenizer that cannot write a line's end.

Units:  N parameters, embeddings included; D training tokens.
Raises: ValueError naming the file, the model, the key, what was expected and what was there.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.metering import parameter_count
from t2engine.model.config import read_config
from t2engine.study.runs import RECORD, read_record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = ("name", "path", "N", "D", "dtype", "chat", "stop")
# What a model's answers depend on; generation_config.json names its end tokens.
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Checkpoint:
    """A model directory, and how it is asked; N None is counted, stop None chosen."""

    name: str
    path: Path
    D: int
    N: int | None = None
    dtype: str = "auto"
    chat: bool = False
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Failure:
    """A checkpoint that could not be evaluated, and why."""

    name: str
    reason: str


def read_ladder(directory: Path) -> tuple[list[Checkpoint], list[Failure]]:
    """The finished run in `directory`, or those below it by N and D, and the broken ones."""
    paths = sorted(path.parent for path in directory.glob(f"[!.]*/{RECORD}"))
    if (directory / RECORD).is_file():
        paths = [directory]
    if not paths:
        raise ValueError(f"{directory} must be a finished run or hold some, found no {RECORD}")
    found = [try_run(path) for path in paths]
    runs = [run for run in found if isinstance(run, Checkpoint)]
    failures = [run for run in found if isinstance(run, Failure)]
    return sorted(runs, key=lambda run: (run.N or 0, run.D)), failures


def try_run(path: Path) -> Checkpoint | Failure:
    try:
        record = read_record(path)
        name, N, D = record["run"]["name"], record["N"], record["D"]
    except (ValueError, LookupError, TypeError, OSError) as error:
        return Failure(path.name, str(error))
    if not (isinstance(name, str) and isinstance(N, int) and isinstance(D, int)):
        reason = f"{path / RECORD} must say a name, N and D, got {name!r}, {N!r}, {D!r}"
        return Failure(path.name, reason)
    return Checkpoint(name, path, D, N, stop=())


def read_models(path: Path) -> list[Checkpoint]:
    """The models of a TOML file, in its order."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: must be a TOML file: {error}") from error
    tables = document.pop("model", None)
    if document or not isinstance(tables, list) or not tables:
        raise ValueError(f"{path}: expected [[model]] tables alone, got {', '.join(document)}")
    checkpoints = [read_model(f"{path}: model {i}", path, t) for i, t in enumerate(tables, start=1)]
    names = [checkpoint.name for checkpoint in checkpoints]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: name {repeated[0]!r} expected once, got twice")
    return checkpoints


def read_model(where: str, source: Path, table: Any) -> Checkpoint:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: expected a [[model]] table, got {table!r}")
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        raise ValueError(f"{where}: {unknown[0]} must be one of {', '.join(KEYS)}")

    def value(name: str, expected: str, holds: bool) -> Any:
        if not holds:
            got = repr(table[name]) if name in table else "nothing"
            raise ValueError(f"{where}: {name} must be {expected}, got {got}")
        return table.get(name)

    def is_count(x: Any) -> bool:
        return isinstance(x, int) and not isinstance(x, bool) and x >= 1

    def is_text(x: Any) -> bool:
        return isinstance(x, str) and x.strip() != ""

    stop = table.get("stop")
    is_stop = stop is None or (isinstance(stop, list) and all(isinstance(x, str) for x in stop))
    value("stop", "a list of texts that are not empty", is_stop and "" not in (stop or []))
    return Checkpoint(
        name=value("name", "a text that is not empty", is_text(table.get("name"))),
        path=source.parent / value("path", "a model directory", is_text(table.get("path"))),
        D=value("D", "the number of training tokens", is_count(table.get("D"))),
        N=value("N", "a number of parameters or left out", is_count(table.get("N", 1))),
        dtype=value("dtype", "a text", is_text(table.get("dtype", "auto"))) or "auto",
        chat=bool(value("chat", "true or false", isinstance(table.get("chat", False), bool))),
        stop=None if stop is None else tuple(stop),
    )


def parameters_of(checkpoint: Checkpoint) -> int:
    if checkpoint.N is not None:
        return checkpoint.N
    return parameter_count(read_config(checkpoint.path))


def digest_of(directory: Path) -> str:
    """Of all that decides what the model in `directory` answers."""
    if not directory.is_dir():
        raise ValueError(f"{directory} must be a model directory, found none")
    weights = sorted(directory.glob("*.safetensors"))
    paths = [path for name in FILES if (path := directory / name).is_file()] + weights
    if not (directory / "config.json").is_file() or not weights:
        raise ValueError(f"{directory} must hold config.json and *.safetensors, found not both")
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
