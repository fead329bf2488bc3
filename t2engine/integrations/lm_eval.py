"""lm-evaluation-harness on t2engine's engine: the model "t2engine".

    import lm_eval
    from t2engine.integrations.lm_eval import T2LM

    lm_eval.simple_evaluate(model=T2LM("path/to/a/model"), tasks=["gsm8k"])

Importing this file registers it, so that model="t2engine" with model_args works too. A task's
`repeats: k` is one fan-out: its prompt is computed once, and its k samples are different ones.
Prompts that are too long are cut on the left, with a warning, as the harness's own models do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from t2engine import metering
from t2engine.engine.llm import LLM
from t2engine.engine.scoring import score_continuations
from t2engine.integrations.fan_out import (
    Prompt,
    cut_prompt,
    fan_outs,
    generation_params,
    in_order,
)
from t2engine.integrations.prompts import chat_prompt, chat_template, read_special_tokens
from t2engine.model.chat import ChatTemplate
from t2engine.model.hub import SHIPPED_MODEL
from t2engine.schema import RequestOutput, SampleCost, SamplingParams

DEFAULT_MAX_TOKENS = 256  # the harness's own, where a task does not say


@register_model("t2engine")
class T2LM(TemplateLM):  # type: ignore[misc]  # lm_eval need not be installed
    """A model of ours as the harness asks it.

    pretrained: an LLM, or what LLM takes: a directory, a hub id, or the shipped model's name.
    seed: of all samples; the same seed, the same samples.
    batch_size, max_batch_size: taken because the harness gives them; the engine fills its own.
    """

    def __init__(
        self,
        pretrained: str | LLM = SHIPPED_MODEL,
        *,
        device: str = "auto",
        dtype: str = "auto",
        kv_cache_dtype: str = "auto",
        threads: int | None = None,
        seed: int = 0,
        progress: bool | None = None,
        batch_size: Any = None,
        max_batch_size: Any = None,
    ) -> None:
        super().__init__()
        self.llm = (
            pretrained
            if isinstance(pretrained, LLM)
            else LLM(
                pretrained,
                device=device,
                dtype=dtype,
                kv_cache_dtype=kv_cache_dtype,
                threads=threads,
            )
        )
        self.seed, self.progress = seed, progress
        llm = self.llm
        self.special = read_special_tokens(llm.model_dir, llm.tokenizer, llm.generation)
        self.template: ChatTemplate | None = None  # the one chosen
        self.num_prompts = self.num_samples = 0  # that were generated from, so far
        self.cost: SampleCost = metering.total([])  # of generation, so far

    # ---- tokens -------------------------------------------------------------------------------

    @property
    def eot_token_id(self) -> int | None:
        return self.special.end

    @property
    def prefix_token_id(self) -> int:
        return self.special.prefix

    @property
    def max_length(self) -> int:
        return self.llm.config.max_context_len

    @property
    def max_gen_toks(self) -> int:
        return min(DEFAULT_MAX_TOKENS, self.max_length // 2)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """A begin token that the text has already is not put before it again."""
        if add_special_tokens is None:
            add_special_tokens = not self.special.begins(string)
        return self.llm.tokenizer.encode(string, add_special_tokens=add_special_tokens)

    # ---- the three questions ------------------------------------------------------------------

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        if not requests:
            return []
        asked = {id(request): self.asked(*request.args) for request in distinct(requests)}
        served = fan_outs([asked[id(request)] for request in requests])
        outputs = self.llm.generate(
            [fan_out.prompt for fan_out in served],
            [fan_out.params for fan_out in served],
            progress=False if disable_tqdm else self.progress,
        )
        self.note(outputs)
        return in_order(served, [[s.text for s in output.outputs] for output in outputs])

    def asked(self, context: str, kwargs: dict[str, Any]) -> tuple[Prompt, SamplingParams]:
        params = generation_params(
            kwargs,
            default_max_tokens=self.max_gen_toks,
            seed=self.seed,
            special_token=self.special.ids.get,
        )
        assert params.max_tokens is not None
        whole = tuple(self.tok_encode(context)) or (self.prefix_token_id,)
        prompt = cut_prompt(whole, params.max_tokens, self.max_length)
        if len(prompt) < len(whole):
            self.warn_of_cut(len(whole), len(prompt))
        return prompt, params

    def note(self, outputs: Sequence[RequestOutput]) -> None:
        self.num_prompts += len(outputs)
        self.num_samples += sum(len(output.outputs) for output in outputs)
        self.cost = metering.total([self.cost, *(output.cost for output in outputs)])

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        pairs = []
        for _name, context, continuation in requests:
            kept = context[max(0, len(context) + len(continuation) - self.max_length - 1) :]
            if len(kept) < len(context):
                self.warn_of_cut(len(context), len(kept))
            pairs.append((kept, continuation))
        progress = False if disable_tqdm else self.progress
        scores = score_continuations(self.llm, pairs, progress=progress)
        return [(score.total, score.is_greedy) for score in scores]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Every token once, with as much of the text before it as the context holds."""
        windows: list[tuple[Any, list[int], list[int]]] = []
        bounds = [0]
        for request in requests:
            [text] = request.args
            found = get_rolling_token_windows(
                self.tok_encode(text), self.prefix_token_id, self.max_length, context_len=1
            )
            windows += [(None, *make_disjoint_window(window)) for window in found]
            bounds.append(len(windows))
        totals = [total for total, _ in self._loglikelihood_tokens(windows, disable_tqdm)]
        return [sum(totals[first:end]) for first, end in pairwise(bounds)]

    # ---- chat templates -----------------------------------------------------------------------

    @property
    def tokenizer_name(self) -> str:
        return str(self.llm.model_dir).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Its text; from here on it is the one that is applied."""
        if chat_template is False or chat_template is None:
            return None
        self.template = self.read_template("default" if chat_template is True else chat_template)
        return self.template.template

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        template = self.template or self.read_template()
        return chat_prompt(template, chat_history, add_generation_prompt)

    def read_template(self, name: str = "default") -> ChatTemplate:
        return chat_template(self.llm.model_dir, name)

    # ---- what the harness writes into its results ---------------------------------------------

    def get_model_info(self) -> dict[str, Any]:
        return {
            "model": str(self.llm.model_dir),
            "model_num_parameters": metering.parameter_count(self.llm.config),
            "model_dtype": self.llm.precision.weights,
            "num_prompts": self.num_prompts,
            "num_samples": self.num_samples,
            "prefill_flops": self.cost.prefill_flops,
            "decode_flops": self.cost.decode_flops,
        }

    def warn_of_cut(self, length: int, kept: int) -> None:
        logging.getLogger(__name__).warning(
            "a prompt of %d tokens was cut to its last %d, to fit the model's context of %d",
            *(length, kept, self.max_length),
        )


def distinct(requests: Sequence[Instance]) -> list[Instance]:
    """Clones are one object."""
    return list({id(request): request for request in requests}.values())
