from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from t2engine.model.tokenizer import MANY_TEXTS, IncrementalDecoder, Tokenizer, read_tokenizer
from tests.model.tiny import BOS, EOS, VOCAB_SIZE, byte_level_tokenizer

TEXTS = [
    "The quick brown fox, it's said, jumps over 12 lazy dogs.",
    "日本語の文章と中文字符 mixed with English",
    "emoji 👩‍👩‍👧 and 🇫🇷, naïve café, Ελληνικά, עברית, हिन्दी",
    "  two  spaces, a\ttab\nand a newline \n",
    "\N{REPLACEMENT CHARACTER} itself",
]
SPECIAL = ["<s>", "</s>", "<unk>"]


def byte_level() -> tokenizers.Tokenizer:
    """As of GPT-NeoX, Llama 3 and Qwen."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_tokens(["<think>"])  # an added token that is text
    return backend


def byte_fallback() -> tokenizers.Tokenizer:
    """As of Llama 2 and Mistral: pieces of text where they are known, <0xE4> and such elsewhere."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    characters = sorted(set("▁" + TEXTS[0].replace(" ", "") + TEXTS[1][:4]))
    merges = [("▁", "T"), ("▁T", "h"), ("▁Th", "e"), ("o", "x"), ("▁", "▁"), ("▁", "日")]
    tokens = SPECIAL + byte_tokens + characters + [a + b for a, b in merges]
    vocab = {token: index for index, token in enumerate(tokens)}
    model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    backend.add_special_tokens(SPECIAL)
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence(spaces)
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return backend


def metaspace_unigram() -> tokenizers.Tokenizer:
    pieces = ["▁", "▁▁", "▁the", "the", *sorted(set("".join(TEXTS[:2]).replace(" ", "")))]
    vocab = [("<unk>", 0.0)] + [(piece, -2.0 - index / 10) for index, piece in enumerate(pieces)]
    backend = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    backend.add_special_tokens(["<s>", "</s>"])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend


def characters_alone() -> tokenizers.Tokenizer:
    """One token a character, joined without spaces, as of a small model of arithmetic."""
    vocab = {token: index for index, token in enumerate([*SPECIAL, *"0123456789+-*=\n abcé日👩"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.add_special_tokens(SPECIAL)
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return backend


def words() -> tokenizers.Tokenizer:
    """No decoder at all: tokens are joined by spaces."""
    vocab = {token: index for index, token in enumerate([*SPECIAL, "the", "fox", "日本", "."])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.add_special_tokens(SPECIAL)
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


def word_pieces() -> tokenizers.Tokenizer:
    vocab = {token: i for i, token in enumerate([*SPECIAL, "the", "fox", "##es", "don", "'", "."])}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    backend.add_special_tokens(SPECIAL)
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    return backend


KINDS = {
    make.__name__: make
    for make in (byte_level, byte_fallback, metaspace_unigram, characters_alone, words, word_pieces)
}


@pytest.fixture(scope="module")
def tokenizer_of(tmp_path_factory):
    """Each kind, written to a directory and read as the engine reads it."""
    read = {}
    for name, make in KINDS.items():
        directory = tmp_path_factory.mktemp(name)
        make().save(str(directory / "tokenizer.json"))
        read[name] = read_tokenizer(directory, vocab_size=1000)
    return read


def pieces_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    decoder = IncrementalDecoder(tokenizer)
    return [*(decoder.push(token_id) for token_id in ids), decoder.flush()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_of_a_text_join_to_its_decoding(tokenizer_of, kind, text):
    tokenizer = tokenizer_of[kind]
    ids = tokenizer.encode(text)
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)
    if kind in ("byte_level", "byte_fallback"):
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_pieces_of_any_tokens_join_to_their_decoding(tokenizer_of, kind, data):
    """Also of tokens no text encodes to: stray bytes, special tokens, ids beyond the vocabulary."""
    tokenizer = tokenizer_of[kind]
    ids = data.draw(st.lists(st.integers(0, tokenizer.backend.get_vocab_size() + 2), max_size=40))
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.text(st.characters(exclude_characters="▁", codec="utf-8"), max_size=30))
@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback"])
def test_any_text_comes_back(tokenizer_of, kind, text):
    tokenizer = tokenizer_of[kind]
    ids = tokenizer.encode(text)
    assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_given_out_as_soon_as_it_is_certain(tokenizer_of, kind):
    """Every token of plain text has its piece at once; nothing waits for the end."""
    tokenizer = tokenizer_of[kind]
    text = "1+2=3" if kind == "characters_alone" else "the fox."
    ids = tokenizer.encode(text)
    pieces = pieces_of(tokenizer, ids)
    for count in range(1, len(ids) + 1):
        assert "".join(pieces[:count]) == tokenizer.decode(ids[:count])
    assert pieces[-1] == ""


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback"])
def test_half_a_character_is_held_back(tokenizer_of, kind):
    """The four bytes of an emoji that no merge covers come out together."""
    tokenizer = tokenizer_of[kind]
    ids = [*tokenizer.encode("🦀"), *tokenizer.encode(".")]
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces).replace(" ", "") == "🦀."
    assert all(len(piece) != 1 or piece in "🦀. " for piece in pieces)
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@pytest.mark.parametrize("kind", KINDS)
def test_many_texts_are_decoded_as_one_by_one(tokenizer_of, kind):
    tokenizer = tokenizer_of[kind]
    texts = [[i % 300, (7 * i) % 300, 5] for i in range(MANY_TEXTS + 3)]
    assert tokenizer.decode_all(texts) == [tokenizer.decode(ids) for ids in texts]
    assert tokenizer.decode_all(texts[:2]) == [tokenizer.decode(ids) for ids in texts[:2]]


def test_a_decoder_does_little_work_per_token(tokenizer_of):
    """The window stays short however long the text, so a long sample costs no more per token."""
    for tokenizer in tokenizer_of.values():
        decoder = IncrementalDecoder(tokenizer)
        lengths = []
        for token_id in tokenizer.encode("the fox. " * 200):
            decoder.push(token_id)
            lengths.append(len(decoder.window))
        assert max(lengths) <= 3


# ---- reading ---------------------------------------------------------------------------------


def test_the_post_processor_decides_what_is_added(tmp_path):
    byte_level_tokenizer(add_bos=True).save(str(tmp_path / "tokenizer.json"))
    flags = {"add_bos_token": False, "add_eos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(flags))
    tokenizer = read_tokenizer(tmp_path, VOCAB_SIZE)
    ids = tokenizer.encode("the answer")
    assert ids[0] == BOS
    assert EOS not in ids
    assert tokenizer.encode("the answer", add_special_tokens=False) == ids[1:]
    assert tokenizer.decode([*ids, EOS]) == "the answer"


def test_a_prompt_is_never_cut_or_padded(tmp_path):
    backend = byte_level_tokenizer(add_bos=False)
    backend.enable_truncation(4)
    backend.enable_padding(length=300)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert len(read_tokenizer(tmp_path, VOCAB_SIZE).encode("abcdefghij")) == 10


def test_size_mismatch_names_both_numbers(tmp_path):
    byte_level_tokenizer(add_bos=False).save(str(tmp_path / "tokenizer.json"))
    message = r"tokenizer/embedding size mismatch.* 319 rows .*got ids up to 319"
    with pytest.raises(ValueError, match=message):
        read_tokenizer(tmp_path, VOCAB_SIZE - 1)
    assert read_tokenizer(tmp_path, VOCAB_SIZE).has_text


def test_without_a_tokenizer_only_text_prompts_are_refused(tmp_path):
    tokenizer = read_tokenizer(tmp_path, VOCAB_SIZE)
    assert not tokenizer.has_text
    assert tokenizer.decode([1, 2, 3]) == "".join(pieces_of(tokenizer, [1, 2, 3])) == ""
    with pytest.raises(ValueError, match=r"text prompts need tokenizer\.json, which is missing"):
        tokenizer.encode("hello")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"type": "Nonsense"}}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json: must be a file of the tok") as error:
        read_tokenizer(tmp_path, VOCAB_SIZE)
    assert "\n" not in str(error.value)


def test_random_damage_is_read_or_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    byte_level_tokenizer(add_bos=False).save(str(path))
    values = json.loads(path.read_text())
    for key in values:
        for wild in (None, 3, "x", [], {}, {"type": "ByteLevel"}):
            path.write_text(json.dumps({**values, key: wild}))
            assert isinstance(read_or_reason(tmp_path), Tokenizer | str)


def read_or_reason(directory: Path) -> Tokenizer | str:
    try:
        return read_tokenizer(directory, VOCAB_SIZE)
    except ValueError as error:
        return str(error)
