"""Text to token ids and back, from tokenizer.json.

What is added around a text (a begin token, an end token) is decided by the post-processor in
tokenizer.json alone; flags such as `add_bos_token` in tokenizer_config.json describe how that file
was made and are not applied a second time. Decoding leaves special tokens out and does not tidy
spaces. Truncation and padding stored in the file are switched off: a prompt is never cut.

Without tokenizer.json prompts must be token ids, and samples have no text.

Raises: ValueError naming the file, what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from t2engine.model.fields import show

if TYPE_CHECKING:
    import tokenizers

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # how bytes that are not, or not yet, UTF-8 decode
MANY_TEXTS = 256  # from so many on, decoded on all cores


@dataclass(frozen=True)
class Tokenizer:
    """A model directory's tokenizer; `backend` is None where there is no tokenizer.json."""

    model_dir: Path
    backend: tokenizers.Tokenizer | None = field(repr=False)
    special_ids: frozenset[int] = field(repr=False)
    byte_ids: frozenset[int] = field(repr=False)  # <0xE4>: its text depends on its neighbours
    is_byte_level: bool  # every token is a string of bytes, whatever stands before it

    @property
    def has_text(self) -> bool:
        return self.backend is not None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids, with what the post-processor adds unless told otherwise."""
        if self.backend is None:
            raise ValueError(
                f"{self.model_dir}: text prompts need tokenizer.json, which is missing;"
                " give prompts as token ids"
            )
        ids: list[int] = self.backend.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        if self.backend is None:
            return ""
        text: str = self.backend.decode(list(token_ids), skip_special_tokens=True)
        return text

    def decode_all(self, texts: Sequence[Sequence[int]]) -> list[str]:
        """decode of each, on all cores where they are many."""
        if self.backend is None or len(texts) < MANY_TEXTS:
            return [self.decode(token_ids) for token_ids in texts]
        decoded: list[str] = self.backend.decode_batch(
            [list(token_ids) for token_ids in texts], skip_special_tokens=True
        )
        return decoded

    def is_silent(self, token_id: int) -> bool:
        """Whether decoding leaves the token out: a special one, or an id no token has."""
        if self.backend is None or token_id in self.special_ids:
            return True
        return self.backend.id_to_token(token_id) is None


def read_tokenizer(model_dir: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer of a model whose embedding has `vocab_size` rows."""
    path = Path(model_dir) / "tokenizer.json"
    if not path.is_file():
        return Tokenizer(Path(model_dir), None, frozenset(), frozenset(), False)
    import tokenizers  # 5 MB that a model without tokenizer.json does not need

    with _BareExceptionAsValueError(path):
        backend = tokenizers.Tokenizer.from_file(str(path))
    backend.no_truncation()
    backend.no_padding()
    largest_id = max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest_id >= vocab_size:
        raise ValueError(
            f"{path}: tokenizer/embedding size mismatch: token ids must be below the embedding's"
            f" {vocab_size} rows (vocab_size), got ids up to {largest_id}"
        )
    added = backend.get_added_tokens_decoder()
    decoder = b"null" if backend.decoder is None else backend.decoder.__getstate__()  # its JSON
    byte_tokens = [backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    falls_back = b'"ByteFallback"' in decoder
    return Tokenizer(
        model_dir=Path(model_dir),
        backend=backend,
        special_ids=frozenset(i for i, token in added.items() if token.special),
        byte_ids=frozenset(i for i in byte_tokens if falls_back and i is not None),
        is_byte_level=decoder.startswith(b'{"type":"ByteLevel"'),
    )


class IncrementalDecoder:
    """Decode token by token, so that the pieces joined are the decoding of all tokens together.

    A piece is given out once no later token can change it: bytes that end inside a character, and
    runs of byte tokens, wait for what follows. Each step decodes a window, not the whole text: the
    tokens of the last piece, since a first token may lose its leading space, and the tokens since.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.window: list[int] = []  # the tokens of the last piece, then those not given out
        self.num_given = 0  # how many of the window are of the last piece
        self.given = ""  # what they decode to by themselves

    def push(self, token_id: int) -> str:
        """The text that became certain with this token; often "" or more than the token's own."""
        if self.tokenizer.is_silent(token_id):
            return ""
        self.window.append(token_id)
        if token_id in self.tokenizer.byte_ids:
            return ""
        text = self.tokenizer.decode(self.window)
        if text.endswith(REPLACEMENT) or not text.startswith(self.given):
            return ""
        return self._give(text)

    def flush(self) -> str:
        """What is still held back, at the end of the tokens."""
        return self._give(self.tokenizer.decode(self.window))

    def _give(self, text: str) -> str:
        piece = text[len(self.given) :]
        if piece:
            kept = len(self.window) if self.tokenizer.is_byte_level else self.num_given
            self.window = self.window[kept:]
            self.num_given = len(self.window)
            self.given = self.tokenizer.decode(self.window) if self.window else ""
        return piece


class _BareExceptionAsValueError:
    """The tokenizers library reports a bad file by raising Exception itself, no subclass of it.

    An except clause for that would catch everything; this turns exactly that class into ValueError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is Exception:
            raise ValueError(
                f"{self.path}: must be a file of the tokenizers library, got {show(str(error))}"
            ) from error
