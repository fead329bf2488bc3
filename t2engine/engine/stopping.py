"""Where a sample's text ends: stop strings may span tokens, and text once decoded never changes."""

from __future__ import annotations

from t2engine.model.tokenizer import IncrementalDecoder, Tokenizer
from t2engine.schema import SamplingParams


class StopChecker:
    """Watches the text of one sample for its stop strings, token by token."""

    def __init__(self, tokenizer: Tokenizer, params: SamplingParams) -> None:
        self.decoder = IncrementalDecoder(tokenizer)
        self.stops = params.stop
        self.keep_stop = params.include_stop_str_in_output
        self.text = ""
        self.unchecked = 0  # where a match may begin; text before it was let pass
        self.end: int | None = None  # where the text is cut, once stopped

    def push(self, token: int, enough: bool) -> str | None:
        """The stop string that this token completes, the earliest in the text; None if none.

        Before the sample has enough tokens (min_tokens), its text is let pass.
        """
        return self._add(self.decoder.push(token), enough)

    def flush(self, enough: bool) -> str | None:
        """The same, for text that was held back until the last token."""
        return self._add(self.decoder.flush(), enough)

    def _add(self, piece: str, enough: bool) -> str | None:
        self.text += piece
        if not enough:
            self.unchecked = len(self.text)
            return None
        found = [(self.text.find(stop, self.unchecked), stop) for stop in self.stops]
        matches = [(at, stop) for at, stop in found if at >= 0]
        if not matches:
            longest = max(len(stop) for stop in self.stops)
            self.unchecked = max(self.unchecked, len(self.text) - longest + 1)
            return None
        at, stop = min(matches)
        self.end = at + len(stop) if self.keep_stop else at
        return stop

    def final_text(self) -> str:
        """The text up to the stop string that ended it."""
        return self.text[: self.end]
