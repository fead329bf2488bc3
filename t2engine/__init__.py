"""t2engine: sample k answers from one prompt at the price the hardware allows, and plan N, D and k.

    llm = t2engine.LLM()
    outputs = llm.generate(["12+7*3="], t2engine.SamplingParams(n=64, seed=7))

The planning half (t2engine.laws, .costs, .plan, .reports) never imports torch; LLM does, when used.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import warnings
from typing import TYPE_CHECKING, Any

# After a plain install, importing from the repository root finds these sources; the compiled
# extension and the kernels then come from the installed package of the same name.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from t2engine.engine.llm import LLM
    from t2engine.model.hub import SHIPPED_MODEL
    from t2engine.schema import CompletionOutput, Logprob, RequestOutput, SampleCost, SamplingParams

EXPORTS = {
    "LLM": "t2engine.engine.llm",
    "SHIPPED_MODEL": "t2engine.model.hub",
    "CompletionOutput": "t2engine.schema",
    "Logprob": "t2engine.schema",
    "RequestOutput": "t2engine.schema",
    "SampleCost": "t2engine.schema",
    "SamplingParams": "t2engine.schema",
}

__all__ = [
    "LLM",
    "SHIPPED_MODEL",
    "CompletionOutput",
    "Logprob",
    "RequestOutput",
    "SampleCost",
    "SamplingParams",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 't2engine' has no attribute {name!r}")
    return getattr(importlib.import_module(EXPORTS[name]), name)


if importlib.util.find_spec("t2engine._C") is None:
    warnings.warn(
        "t2engine: the C++ extension is not built, so sampling runs on slow reference operations; "
        "`make build` or `pip install .` builds it",
        RuntimeWarning,
        stacklevel=2,
    )
