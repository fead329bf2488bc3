"""The character tokenizer of the arithmetic task, as Hugging Face's `tokenizers` library holds it.

A prompt is a beginning token and its characters; an answer is its characters and an end token. The
vocabulary is three special tokens and the task's symbols; without merges, a character is a token.
"""

from __future__ import annotations

from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from t2engine.study.tasks.arithmetic import SYMBOLS

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
TOKEN_IDS = {token: index for index, token in enumerate((PAD, BOS, EOS, *SYMBOLS))}
VOCAB_SIZE = len(TOKEN_IDS)


def encode(text: str) -> list[int]:
    """The ids of a text's characters, without special tokens; what training uses, being faster."""
    return [TOKEN_IDS[symbol] for symbol in text]


def build_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(BPE(vocab=TOKEN_IDS, merges=[]))
    tokenizer.add_special_tokens([PAD, BOS, EOS])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)]
    )
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
