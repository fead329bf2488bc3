"""A benchmark in words: the sentence says what the figures say, and tables fit 80 columns."""

from __future__ import annotations

import pytest

from t2engine.costs.steps import DecodeStep, PrefillStep
from t2engine.costs.throughput import (
    FORMAT,
    VERSION,
    BenchResult,
    CallFigures,
    Peaks,
    break_evens,
    figures_of,
    gains_of,
    marginal_costs,
)
from t2engine.reports.bench import headline, print_bench, sharing_words
from t2engine.schema import Cost

PEAKS = Peaks({"float32": 1e12}, 1e11, 2e12, 2e11, "as given")


def made(seconds: dict[tuple[int, int, bool], float]) -> BenchResult:
    """From seconds by (n, P, shared), steady over rounds."""
    decode = [
        figures_of(
            *(DecodeStep(n, 1 if shared else n, P, 16), (took, took), Cost(10**9, 10**8)),
            *(PEAKS, "float32", 1.1 * took),
        )
        for (n, P, shared), took in seconds.items()
    ]
    gains = gains_of(decode)
    prefill = [
        figures_of(PrefillStep(P), (0.5, 0.5), Cost(10**9, 10**8), PEAKS, "float32", 0.4)
        for P in {P: None for _, P, _ in seconds}
    ]
    calls = [
        CallFigures("t2engine", "int8/int8", 64, 128, 32, (1.0,), 2048.0, 3000.0, 0.02, 1.25, None),
        CallFigures("transformers", "float32", 64, 128, 32, (4.0,), 512.0, 750.0, 0.08, None, 4.0),
    ]
    return BenchResult(
        *(FORMAT, VERSION, "a[model]", 1_000_000, "int8/int8", 1, {}, {}, PEAKS),
        *(tuple(prefill), tuple(decode), tuple(gains), tuple(break_evens(gains))),
        *(tuple(marginal_costs(decode)), tuple(calls), {"llama": "not installed"}, ("a note",)),
        busy=False,
    )


RESULT = made(
    {
        (1, 128, True): 0.01,
        (8, 128, True): 0.017,
        (64, 128, True): 0.032,
        (8, 128, False): 0.016,
        (64, 128, False): 0.032,
        (1, 1024, True): 0.02,
        (8, 1024, True): 0.034,
        (64, 1024, True): 0.09,
        (8, 1024, False): 0.05,
        (64, 1024, False): 0.4,
    }
)


def test_the_headline_is_of_the_best_number_of_samples() -> None:
    line = headline(RESULT)
    assert "1,000,000 parameters, int8/int8) on 1 thread, after 128 prompt tokens" in line
    assert "one sample draws 100 tokens/s, 64 draw 2,000 (20.0 times)" in line
    assert "at 3% of the machine's product peak and 3% of its read peak" in line
    assert "Of samples 9 to 64 each costs 3% of the first." in line


def test_never_always_and_losses_are_said() -> None:
    words = sharing_words(RESULT)
    assert "at P = 128 never; at P = 1,024 at every n measured" in words
    assert "at n = 8 from P = 1,024 on" in words
    assert "Sharing loses at n = 8, P = 128 (0.94 times as fast)." in words


def test_one_sample_alone_shares_with_nobody() -> None:
    alone = made({(1, 128, True): 0.01})
    assert "and more samples no more" in headline(alone)
    assert sharing_words(alone) == "One sample has nobody to share its prompt with."


def test_tables_fit_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_bench(RESULT)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed, "nothing is cut off"
    for cell in ("a[model]", "0.94x", "~1.00x", "4.44x", "+10%", "-20%", "1.25", "4.00", "3% / 2%"):
        assert cell in printed
    assert "llama: not installed" in printed
    assert "datasheet (as given) 2,000.0 GFLOP/s, 200.0 GB/s" in " ".join(printed.split())
