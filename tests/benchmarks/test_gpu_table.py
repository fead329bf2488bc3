"""What a record of a GPU machine becomes: bars met, missed or not measured, and tables."""

from __future__ import annotations

import json

import pytest

from benchmarks.gpu import table
from benchmarks.gpu.bars import Point, speedup, verdict, verdicts
from benchmarks.gpu.record import read_lines
from benchmarks.gpu.shapes import all_shapes
from tests.benchmarks import gpu_records as made

WORDS = {
    "prefix kernel, triton, head_dim 128": lambda x: [made.prefix(x * 350e12)],
    "prefix kernel, cuda, head_dim 64": lambda x: [made.prefix(x * 400e12, "Llama-3.2-1B", "cuda")],
    "suffix kernel, cuda": lambda x: [made.suffix(x * 0.8)],
    "attention: faster": lambda x: [made.attention({"t2 cuda": 1e-5, "flashinfer a": x * 1e-5})],
    "attention: 1.3x": lambda x: [
        made.attention({"t2 triton": 1e-5, "flashinfer a": x * 1.3e-5}, prefix_len=512)
    ],
    "attention: error": lambda x: [made.attention({"t2 cuda": 1e-5}, torch_error=x * 0.5e-3)],
    "5M, k 4096": lambda x: [made.decode(x * 2e6)],
    "host busy": lambda x: [made.decode(1.0, host_busy=0.1 / x)],
    "the CPU engine's tokens": lambda x: [made.greedy(1 - 0.001 / x)],
}


def word(lines, bar):
    [found] = [v.word for v in verdicts(lines) if v.bar.startswith(bar)]
    return found


@pytest.mark.parametrize("bar", WORDS)
def test_a_bar_is_met_missed_or_not_measured(bar):
    over_all_shapes = bar in ("attention: faster", "attention: 1.3x")
    assert word(WORDS[bar](1.01), bar) == ("met so far" if over_all_shapes else "met")
    assert word(WORDS[bar](0.99), bar) == "missed"
    assert word([], bar) == "not measured"


def test_one_miss_is_a_miss_and_the_worst_is_named():
    found = verdict("bar", [Point("here", 1.2, "12"), Point("there", 0.5, "5")])
    assert (found.met, found.found) == (False, "5 (there); 1 of 2 meet it")


def test_other_tiles_than_the_tables_and_other_peers_do_not_count():
    seconds = {"t2 triton": 2e-5, "t2 triton dot 64x64 w4 s3": 1e-6, "torch sdpa": 1e-6}
    assert speedup(made.attention(seconds)) is None
    assert speedup(made.attention(seconds | {"flashinfer a": 3e-5, "flashinfer b": 9e-5})) == 1.5


def test_a_bar_of_every_shape_is_met_by_every_shape_only():
    seconds = {"t2 cuda": 1e-5, "flashinfer a": 2e-5}
    lines = [made.attention(seconds, **vars(shape)) for shape in all_shapes(False)]
    assert word(lines, "attention: faster") == "met"
    assert word(lines, "attention: 1.3x") == "met"
    assert word(lines[:-1], "attention: faster") == "met so far"
    assert "beside 1 of its 4 ways" in table.render(lines)


def test_the_best_tiles_of_each_shape_count_for_a_prefix_kernel():
    lines = [made.prefix(1e12), made.prefix(351e12, variant="t2 triton dot 128x64 w8 s3")]
    assert word(lines, "prefix kernel, triton, head_dim 128") == "met"
    lines.append(made.prefix(1e12, prefix_len=8192))
    assert word(lines, "prefix kernel, triton, head_dim 128") == "missed"


def test_a_line_that_failed_is_no_measurement():
    line = made.prefix(1.0) | {"failed": "ValueError: wrong"}
    assert word([line], "prefix kernel, triton, head_dim 128") == "not measured"
    assert "prefix t2 triton triton: ValueError: wrong" in table.render([line])


def test_every_section_has_its_numbers():
    lines = [
        made.ceilings(),
        made.attention(
            {
                "t2 cuda": 12e-6,
                "t2 cuda wgmma128 128x128": 11e-6,
                "flashinfer cascade fa2": 24e-6,
            }
        ),
        made.prefix(400e12),
        made.suffix(0.9),
        made.decode(1.5e6),
        made.decode(1e4, "transformers", measured_samples=512),
        made.greedy(0.9999),
        made.tiles([64, 64, 4, 3], 30e-6),
        made.tiles([128, 64, 8, 3], 20e-6),
        made.step_op(),
        {"kind": "lost", "shape": "s", "variant": "v", "why": "illegal address"},
    ]
    text = table.render(lines)
    rows = [
        "| NVIDIA H200 | 4.30 | 790 | 2.11.0 |",
        "| Qwen3-0.6B, 64, 2048 | 10.0 | - | 12.0 | 11.0 (cuda wgmma128 128x128) | 24.0 |",
        "| 2.00x |",
        "| t2 triton | dot 64x64 w8 s2 | 30.0 | 400 |",
        "| cuda | 100.0 | 3.87 | 90% |",
        "| 5M, 4096, 512, 128 | t2 | 1,500,000 | 3,000,000 | 25% | 5% |",
        "| 5M, 512, 512, 128 | transformers | 10,000 | 20,000 | - | 5% |",
        "| 400 | 19200 | 99.9900% | 1 | 1.0e-05 |",
        "| [128, 64, 8, 3]: 20.0 | [64, 64, 4, 3]: 30.0 | - |",
        "| rms_norm | model 5M, width 256 | 5.0 (25%) | - | - |",
        "| 5M, k 4096, P 512: 2,000,000 tokens/s | 1,500,000 (25% of the floor) | missed |",
        "- rms_norm triton: wrong: relative error 1.00e+00",
        "- lost v: illegal address",
    ]
    assert [row for row in rows if row not in text] == []


def test_an_empty_record_has_every_bar_not_measured():
    text = table.render([])
    assert text.count("not measured") == len(verdicts([])) == 15


def test_the_program_adds_records_up(tmp_path, capsys):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, line in zip(paths, (made.ceilings(), made.decode(3e6)), strict=True):
        path.write_text(json.dumps(line) + "\n" + '{"kind": "cut sho')
    assert [len(read_lines(path)) for path in paths] == [1, 1]
    table.main([*map(str, paths)])
    printed = capsys.readouterr().out
    assert "2,000,000 tokens/s | 3,000,000 (25% of the floor) | met |" in printed
    table.main([*map(str, paths), "--out", str(tmp_path / "table.md")])
    assert (tmp_path / "table.md").read_text() == printed
