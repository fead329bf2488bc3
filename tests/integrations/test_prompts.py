"""Special tokens and chat templates, as a harness uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from t2engine import LLM
from t2engine.integrations.prompts import chat_prompt, chat_template, read_special_tokens
from t2engine.model.generation import read_generation_config
from t2engine.model.tokenizer import read_tokenizer
from tests.model.tiny import BOS, EOS, VOCAB_SIZE, byte_level_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
CHAT = [
    {"role": "user", "content": "the question"},
    {"role": "assistant", "content": " the answer is "},
]


def write_tokenizer(directory: Path, **config: str) -> Path:
    byte_level_tokenizer(add_bos=False).save(str(directory / "tokenizer.json"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    (directory / "config.json").write_text(json.dumps({"bos_token_id": BOS, "eos_token_id": EOS}))
    return directory


def special_of(directory: Path):
    tokenizer = read_tokenizer(directory, VOCAB_SIZE)
    return read_special_tokens(directory, tokenizer, read_generation_config(directory))


def test_named_tokens_come_before_those_of_the_model(tmp_path: Path) -> None:
    special = special_of(write_tokenizer(tmp_path, bos_token="<pad>", eos_token="<s>"))
    assert (special.begin, special.end, special.prefix) == (2, BOS, 2)
    assert special.begins("<pad>text")
    assert not special.begins("<s>text")
    assert special.ids == {"<s>": 0, "</s>": 1, "<pad>": 2}


def test_without_a_begin_token_the_end_token_stands_before_a_text(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": EOS}))
    special = special_of(tmp_path)
    assert (special.begin, special.prefix) == (None, EOS)
    assert special.begins("</s>text")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="must name a begin or an end token"):
        _ = special_of(tmp_path).prefix


def test_the_shipped_model_begins_with_its_begin_token() -> None:
    llm = LLM()
    special = read_special_tokens(llm.model_dir, llm.tokenizer, llm.generation)
    theirs = transformers.AutoTokenizer.from_pretrained(llm.model_dir)
    assert (special.prefix, special.end) == (theirs.bos_token_id, theirs.eos_token_id)


@pytest.mark.parametrize("ask_for_answer", [True, False])
def test_chat_prompts_are_those_of_transformers(tmp_path: Path, ask_for_answer: bool) -> None:
    """Where the last message is gone on with, what ends it is left out."""
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE}
    write_tokenizer(tmp_path, **config)
    chat = CHAT[:1] if ask_for_answer else CHAT
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path).apply_chat_template(
        chat,
        tokenize=False,
        add_generation_prompt=ask_for_answer,
        continue_final_message=not ask_for_answer,
    )
    assert chat_prompt(chat_template(tmp_path), chat, ask_for_answer) == theirs.rstrip()
    assert theirs.rstrip().endswith("[assistant]" if ask_for_answer else "the answer is")


def test_models_that_cannot_chat(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="has no chat template; evaluate it without"):
        chat_template(tmp_path)
    write_tokenizer(tmp_path, chat_template="{{ messages | length }}")
    with pytest.raises(ValueError, match="must write the last message as it is"):
        chat_prompt(chat_template(tmp_path), CHAT, False)
