"""The character tokenizer of the study's models, as Hugging Face's `tokenizers` library holds it.

A prompt is a beginning token and its characters; an answer is its characters and an end token. The
vocabulary is three special tokens and 61 symbols; without merges, a character is a token.

Raises: ValueError for text with other symbols.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

SYMBOLS = "0123456789+-*= abcdefghijklmnopqrstuvwxyz?.,:;><()[]/'!#&_|^~"

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
TOKEN_IDS = {token: index for index, token in enumerate((PAD, BOS, EOS, *SYMBOLS))}
VOCAB_SIZE = len(TOKEN_IDS)

ID_OF_BYTE = np.full(256, -1, dtype=np.int64)
ID_OF_BYTE[np.frombuffer(SYMBOLS.encode(), dtype=np.uint8)] = [TOKEN_IDS[s] for s in SYMBOLS]


def encode(text: str) -> NDArray[np.int64]:
    """The ids of a text's characters, without special tokens; what training uses, being faster."""
    token_ids = ID_OF_BYTE[np.frombuffer(text.encode(), dtype=np.uint8)]
    if token_ids.size and token_ids.min() < 0:
        strange = sorted(set(text) - set(SYMBOLS))
        raise ValueError(
            f"the study's models read the symbols {SYMBOLS!r}, got {''.join(strange)!r} in {text!r}"
        )
    return token_ids


def build_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(BPE(vocab=TOKEN_IDS, merges=[]))
    tokenizer.add_special_tokens([PAD, BOS, EOS])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)]
    )
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
