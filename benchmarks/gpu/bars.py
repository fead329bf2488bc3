"""What the GPU half must reach on an H200, and whether a record says that it does.

A bar is met, missed, or not measured. Over many shapes it is missed where one of them misses, met
so far where some were not measured, and it names the worst. A prefix kernel is held to its bar with
the best tiles there are; whole attention as a user gets it, with the table's choice in the faster
backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.gpu.flashinfer_peers import WAYS
from benchmarks.gpu.record import Line
from benchmarks.gpu.shapes import HEADS, all_shapes
from benchmarks.gpu.variants import OURS

FLASHINFER = "flashinfer"
PREFIX_BARS = {  # backend, head_dim -> FLOP/s
    ("triton", 128): 350e12,
    ("cuda", 128): 500e12,
    ("triton", 64): 300e12,
    ("cuda", 64): 400e12,
}
COPY_SHARE = 0.8
SHORT_PREFIX, SHORT_SPEEDUP, SPEEDUP = 512, 1.3, 1.0
DECODE_BARS = {  # model, samples, prompt tokens -> tokens per second
    ("Qwen2.5-0.5B", 1024, 2048): 250e3,
    ("Llama-3.2-1B", 1024, 512): 130e3,
    ("Qwen3-0.6B", 1024, 2048): 100e3,
    ("5M", 4096, 512): 2e6,
}
HOST_BUSY = 0.1
AGREEMENT = 0.999
TABLE_CHOICES = {f"{OURS} {backend}" for backend in ("triton", "cuda")}
ERROR_TIMES = 2.0  # torch's own error in bfloat16


@dataclass(frozen=True)
class Verdict:
    bar: str
    found: str
    met: bool | None
    complete: bool = True  # every shape of the bar was measured

    @property
    def word(self) -> str:
        if self.met and not self.complete:
            return "met so far"
        return {True: "met", False: "missed", None: "not measured"}[self.met]


@dataclass(frozen=True)
class Point:
    """One measured value against its bar: met where margin is 1 or more."""

    where: str
    margin: float
    shown: str


def verdict(bar: str, points: Sequence[Point], wanted: int = 1) -> Verdict:
    """wanted: points that the bar is about, at least."""
    if not points:
        return Verdict(bar, "-", None)
    worst = min(points, key=lambda point: point.margin)
    met = sum(point.margin >= 1 for point in points)
    found = f"{worst.shown} ({worst.where})"
    if len(points) > 1:
        found += f"; {met} of {len(points)} meet it"
    return Verdict(bar, found, met == len(points), len(points) >= wanted)


def of_kind(lines: Sequence[Line], kind: str) -> list[Line]:
    """Those that were measured."""
    return [line for line in lines if line["kind"] == kind and "failed" not in line]


def attention_lines(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["kind"] == "attention"]


def best(line: Line, belongs: Callable[[str], bool]) -> tuple[str, float] | None:
    """The fastest variant of those that belong, and its seconds."""
    found = {n: v["seconds"] for n, v in line["variants"].items() if belongs(n)}
    if not found:
        return None
    name = min(found, key=lambda n: found[n])
    return name, found[name]


def is_ours(name: str) -> bool:
    return name in TABLE_CHOICES


def is_flashinfer(name: str) -> bool:
    return name.startswith(FLASHINFER)


def speedup(line: Line) -> float | None:
    """Over the fastest of FlashInfer."""
    ours, theirs = best(line, is_ours), best(line, is_flashinfer)
    return theirs[1] / ours[1] if ours and theirs else None


def place(line: Line) -> str:
    return f"{line['model']} k {line['num_samples']} P {line['prefix_len']}"


def prefix_verdicts(lines: Sequence[Line]) -> list[Verdict]:
    """Of the fastest tiles at each shape, whether or not the table takes them yet."""
    verdicts = []
    for (backend, head_dim), bar in PREFIX_BARS.items():
        fastest: dict[str, Line] = {}
        for x in of_kind(lines, "prefix"):
            if x["backend"] == backend and head_dim_of(x) == head_dim:
                rival = fastest.get(place(x), x)
                fastest[place(x)] = max(x, rival, key=lambda line: line["flops_per_second"])
        points = [
            Point(f"{where}, {x['chosen']}", rate / bar, f"{rate / 1e12:.0f}")
            for where, x in fastest.items()
            for rate in [x["flops_per_second"]]
        ]
        title = f"prefix kernel, {backend}, head_dim {head_dim}: {bar / 1e12:.0f} TFLOP/s"
        verdicts.append(verdict(title, points))
    return verdicts


def head_dim_of(line: Line) -> int:
    return HEADS[line["model"]][2]


def suffix_verdicts(lines: Sequence[Line]) -> list[Verdict]:
    return [
        verdict(
            f"suffix kernel, {backend}: {COPY_SHARE:.0%} of the copy rate for S >= 64",
            [
                Point(
                    f"{place(x)} S {x['suffix_len']}",
                    x["share_of_copy"] / COPY_SHARE,
                    f"{x['share_of_copy']:.0%}",
                )
                for x in of_kind(lines, "suffix")
                if x["backend"] == backend
            ],
        )
        for backend in ("triton", "cuda")
    ]


def ways_missing(line: Line) -> str:
    there = sum(map(is_flashinfer, line["variants"]))
    return "" if there >= len(WAYS) else f", beside {there} of its {len(WAYS)} ways"


def attention_verdicts(lines: Sequence[Line]) -> list[Verdict]:
    found = [(line, speedup(line)) for line in attention_lines(lines)]
    measured = [(line, ratio) for line, ratio in found if ratio is not None]

    def held(bar: str, least: float, most_prefix: float) -> Verdict:
        wanted = [shape for shape in all_shapes(False) if shape.prefix_len <= most_prefix]
        points = [
            Point(place(line) + ways_missing(line), ratio / least, f"{ratio:.2f}x")
            for line, ratio in measured
            if line["prefix_len"] <= most_prefix
        ]
        return verdict(f"{bar} ({len(wanted)} shapes)", points, len(wanted))

    errors = [
        Point(
            f"{place(line)}, {name}",
            ERROR_TIMES * line["torch_error"] / max(v["relative_error"], 1e-30),
            f"{v['relative_error'] / line['torch_error']:.2f}x",
        )
        for line in attention_lines(lines)
        for name, v in line["variants"].items()
        if name.startswith(OURS)
    ]
    return [
        held("attention: faster than every FlashInfer variant", SPEEDUP, float("inf")),
        held("attention: 1.3x the best FlashInfer at P <= 512", SHORT_SPEEDUP, SHORT_PREFIX),
        verdict("attention: error at most twice torch's own in bfloat16", errors),
    ]


def decode_verdicts(lines: Sequence[Line]) -> list[Verdict]:
    runs = [line for line in of_kind(lines, "decode") if line["engine"] == OURS]
    verdicts = []
    for (model, k, P), bar in DECODE_BARS.items():
        points = [
            Point(
                f"{share_of_floor(x):.0%} of the floor",
                x["tokens_per_second"] / bar,
                f"{x['tokens_per_second']:,.0f}",
            )
            for x in runs
            if (x["model"], x["num_samples"], x["prefix_len"]) == (model, k, P)
        ]
        verdicts.append(verdict(f"{model}, k {k}, P {P}: {bar:,.0f} tokens/s", points[-1:]))
    busy = [
        Point(place(x), HOST_BUSY / max(x["host_busy"], 1e-9), f"{x['host_busy']:.0%}")
        for x in runs
    ]
    agreed = [
        Point("greedy", (1 - AGREEMENT) / max(1 - x["agreement"], 1e-12), f"{x['agreement']:.4%}")
        for x in of_kind(lines, "greedy")
    ]
    return [
        *verdicts,
        verdict(f"host busy at most {HOST_BUSY:.0%}", busy),
        verdict(f"the CPU engine's tokens in {AGREEMENT:.1%} of greedy steps", agreed[-1:]),
    ]


def share_of_floor(line: Line) -> float:
    """Of the decoding alone: the floor has no prefill."""
    return line["floor_seconds"] / line["decode_seconds"]


def verdicts(lines: Sequence[Line]) -> list[Verdict]:
    return [
        *prefix_verdicts(lines),
        *suffix_verdicts(lines),
        *attention_verdicts(lines),
        *decode_verdicts(lines),
    ]
