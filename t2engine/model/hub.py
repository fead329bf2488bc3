"""Find a model's files: the shipped model by its name, a local directory, or the Hugging Face hub.

From the hub only configuration, tokenizer, templates and safetensors are taken, never pickled
weights or code.

Raises: ValueError naming what was looked for, and where.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
from pathlib import Path

SHIPPED_MODEL = "arithmetic"  # lies in t2engine/study/data/<name>
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.jinja"]


def resolve_model(path_or_id: str | Path) -> Path:
    """The directory that holds the model.

    The shipped model's name means the shipped model; a directory called so is "./arithmetic".
    """
    name = str(path_or_id)
    if name == SHIPPED_MODEL:
        return shipped_directory()
    if Path(name, "config.json").is_file():
        return Path(name)
    if Path(name).exists():
        raise ValueError(f"{name}: must be a directory with a config.json, found none in it")
    if not HUB_ID.fullmatch(name):
        raise ValueError(
            f"model {name!r}: must be a directory with a config.json, {SHIPPED_MODEL!r} (the"
            " shipped model) or a hub id such as org/name; no such directory"
        )
    return fetch_from_hub(name)


def shipped_directory() -> Path:
    directory = Path(str(importlib.resources.files("t2engine"))) / "study" / "data" / SHIPPED_MODEL
    if not (directory / "config.json").is_file():
        raise ValueError(f"the shipped model {SHIPPED_MODEL!r} must be in {directory}, found none")
    return directory


def fetch_from_hub(name: str) -> Path:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError(
            f"model {name!r}: no such directory, and looking it up on the hub needs"
            " huggingface_hub (pip install 't2engine[hub]')"
        )
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:  # the hub's own errors are one or the other
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"model {name!r}: no such directory, and not found on the hub:"
            f" {reason[0] if reason else type(error).__name__}"
        ) from error
