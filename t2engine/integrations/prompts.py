"""A model's special tokens and chat template, as an evaluation harness needs them.

Raises: ValueError for a model that has none of what is asked of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2engine.model.chat import ChatTemplate, read_chat_template, special_tokens
from t2engine.model.fields import Fields, read_fields
from t2engine.model.generation import GenerationDefaults
from t2engine.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class SpecialTokens:
    """Texts and ids. What tokenizer_config.json names comes before what the model's files do."""

    model_dir: Path
    ids: Mapping[str, int]  # of every special token, by its text
    begin: int | None
    end: int | None

    @property
    def prefix(self) -> int:
        """What stands before a text that has nothing before it."""
        found = self.end if self.begin is None else self.begin
        if found is None:
            raise ValueError(
                f"{self.model_dir}: must name a begin or an end token, which the first token of a "
                "text is scored after; add bos_token_id to generation_config.json"
            )
        return found

    def begins(self, text: str) -> bool:
        """Whether a text has its first token written out."""
        first = self.end if self.begin is None else self.begin
        return any(i == first and text.startswith(own) for own, i in self.ids.items())


def read_special_tokens(
    model_dir: Path, tokenizer: Tokenizer, generation: GenerationDefaults
) -> SpecialTokens:
    path = model_dir / "tokenizer_config.json"
    named = special_tokens(read_fields(path) if path.is_file() else Fields(str(path), {}))
    backend = tokenizer.backend
    texts = {i: backend.id_to_token(i) for i in tokenizer.special_ids} if backend else {}
    ids = {text: i for i, text in texts.items() if text}
    return SpecialTokens(
        model_dir,
        ids,
        begin=ids.get(named.get("bos_token", ""), generation.bos_token_id),
        end=ids.get(named.get("eos_token", ""), next(iter(generation.eos_token_ids), None)),
    )


def chat_template(model_dir: Path, name: str = "default") -> ChatTemplate:
    found = read_chat_template(model_dir, name)
    if found is None:
        raise ValueError(
            f"{model_dir} has no chat template; evaluate it without --apply-chat-template"
        )
    return found


def chat_prompt(
    template: ChatTemplate, messages: Sequence[Mapping[str, Any]], ask_for_answer: bool
) -> str:
    """A conversation as the model reads it.

    ask_for_answer: end where the assistant's turn begins; else within the last message, which is to
    be gone on with: what the template writes after it is left out.
    """
    text = template.render(messages, add_generation_prompt=ask_for_answer)
    if ask_for_answer:
        return text
    last = str(messages[-1]["content"]).strip()
    at = text.rfind(last)
    if at < 0:
        raise ValueError(
            f"{template.source}: the chat template must write the last message as it is, to be "
            "gone on with"
        )
    return text[: at + len(last)]
