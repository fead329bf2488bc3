"""`t2 bench`: what it prints and saves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from t2engine.cli.main import run
from t2engine.hardware.rounds import Journal
from t2engine.ops import linear
from tests.backends import require

Capture = pytest.CaptureFixture[str]
FEW = ["--n", "4", "--prompt-tokens", "8,40", "--suffix", "4", "--rounds", "2", "--threads", "1"]


@pytest.fixture(autouse=True)
def compiled() -> None:
    require("cpp", linear.why_not("cpp"))


def always(monkeypatch: pytest.MonkeyPatch, *, quiet: bool) -> None:
    """Other programs leave every round alone, or none."""
    monkeypatch.setattr(Journal, "is_quiet", lambda self, number: quiet)


def test_the_answer_comes_first(
    capsys: Capture, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    always(monkeypatch, quiet=True)
    out = tmp_path / "bench.json"
    assert run(["bench", str(tiny_dir), *FEW, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    words = " ".join(captured.out.split())
    assert words.index("one sample draws") < words.index("Sharing the prompt decodes faster")
    assert words.index("Sharing the prompt decodes faster") < words.index("own copies")
    assert "measured peaks: products float32" in words
    found = json.loads(out.read_text())
    assert [step["prompt_tokens"] for step in found["prefill"]] == [8, 40]
    assert found["conditions"]["rounds"] == 2
    assert found["busy"] is False


def test_a_busy_machine_saves_nothing_unless_forced(
    capsys: Capture, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    always(monkeypatch, quiet=False)
    out = tmp_path / "bench.json"
    few = ["--n", "1", "--prompt-tokens", "8", "--suffix", "2", "--rounds", "2", "--threads", "1"]
    arguments = ["bench", str(tiny_dir), *few, "--json", "--out", str(out)]
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["busy"] is True
    assert "other programs used this machine" in captured.err
    assert f"{out} was not written" in captured.err
    assert list(tmp_path.iterdir()) == []
    assert run([*arguments, "--force"]) == 0
    assert json.loads(out.read_text())["busy"] is True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--n", "0"], "--n must be whole numbers of at least 1"),
        (["--n", "4,x"], "got '4,x'"),
        (["--prompt-tokens", "9000"], "prompt_tokens must be at most"),
        (["--suffix-tokens", "1"], "suffix_tokens must be at least 2, got 1"),
        (["--rounds", "1"], "rounds must be at least 2"),
        (["--dtype", "float7"], "dtype must be one of"),
        (["--threads", "0"], "threads must be at least 1, got 0"),
        (["--profile", "/no/such.json"], "no such file; `t2 calibrate"),
        (["--gguf", "/no/such.gguf"], "ask for them too, with --peers"),
        (["--peers", "--gguf", "/no/such.gguf"], "gguf must be a file"),
        (["--datasheet-flops", "-1"], "datasheet_flops must be a finite number above 0"),
        (["--out", "/no/such/directory/x.json"], "--out must be a file in a directory that exists"),
        (["--n", "1000000000"], "samples of a prompt of 128 tokens need"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_options(capsys: Capture, tiny_dir: Path, options: list[str], words: str) -> None:
    assert run(["bench", str(tiny_dir), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("t2 bench: ")
    assert words in captured.err
