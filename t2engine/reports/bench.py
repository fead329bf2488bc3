"""A benchmark of one model for a terminal: the answer in a few sentences, then the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from t2engine.costs.throughput import (
    FASTER,
    SAME,
    SLOWER,
    BenchResult,
    BreakEven,
    Gain,
    StepFigures,
    is_shared,
)

STYLES = {FASTER: "green", SAME: "dim", SLOWER: "red"}


def print_bench(result: BenchResult) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{escape(headline(result))}[/bold]")
    console.print(sharing_words(result))
    console.print(decode_table(result))
    console.print(steps_table(result))
    console.print(calls_table(result))
    for line in (peaks_words(result), *left_out_words(result), *result.notes):
        console.print(f"- {escape(line)}")


# ---- sentences ---------------------------------------------------------------------------------


def headline(result: BenchResult) -> str:
    """What one sample and the best number of them reach, and what one more costs."""
    shared = [step for step in result.decode if is_shared(step)]
    best = max(shared, key=lambda step: step.tokens_per_second)
    P = best.prompt_tokens
    alone = next(s for s in shared if (s.num_samples, s.prompt_tokens) == (1, P))
    model = (
        f"{result.model} ({result.parameters:,} parameters, {result.precision}) on "
        f"{count(result.threads, 'thread')}, after {P:,} prompt tokens: one sample draws "
        f"{alone.tokens_per_second:,.0f} tokens/s"
    )
    if best.num_samples == 1:
        return f"{model}, and more samples no more."
    times = best.tokens_per_second / alone.tokens_per_second
    line = [m for m in result.marginal if m.prompt_tokens == P]
    more = next((m for m in reversed(line) if m.num_samples < best.num_samples), line[-1])
    return (
        f"{model}, {best.num_samples:,} draw {best.tokens_per_second:,.0f} ({times:.1f} times), "
        f"at {best.mfu:.0%} of the machine's product peak and {best.mbu:.0%} of its read peak. "
        f"Of samples {more.num_samples + 1:,} to {more.next_samples:,} each costs "
        f"{more.of_first:.0%} of the first."
    )


def sharing_words(result: BenchResult) -> str:
    if not result.gains:
        return "One sample has nobody to share its prompt with."
    lines = [
        "Sharing the prompt decodes faster than a copy for each sample, by more than the spread "
        "of rounds: "
        + "; ".join(map(break_even_words, of_axis(result.break_even, "num_samples")))
        + "."
    ]
    if len({gain.prompt_tokens for gain in result.gains}) > 1:
        found = of_axis(result.break_even, "prompt_tokens")
        lines.append(f"By the prompt: {'; '.join(map(break_even_words, found))}.")
    losses = [gain for gain in result.gains if gain.verdict == SLOWER]
    if losses:
        lines.append(f"Sharing loses at {', '.join(map(loss_words, losses))}.")
    else:
        lines.append("Sharing loses at no shape measured.")
    return " ".join(lines)


def of_axis(found: Sequence[BreakEven], along: str) -> list[BreakEven]:
    return [entry for entry in found if entry.along == along]


def break_even_words(found: BreakEven) -> str:
    letter, other = ("n", "P") if found.along == "num_samples" else ("P", "n")
    where = f"at {other} = {found.at:,}"
    if found.first is None:
        return f"{where} never"
    if found.everywhere:
        return f"{where} at every {letter} measured"
    but = ", ".join(f"{size:,}" for size in found.not_at)
    return f"{where} from {letter} = {found.first:,} on" + (f", but not at {but}" if but else "")


def loss_words(gain: Gain) -> str:
    return f"n = {gain.num_samples:,}, P = {gain.prompt_tokens:,} ({gain.ratio:.2f} times as fast)"


def peaks_words(result: BenchResult) -> str:
    peaks = result.peaks
    products = ", ".join(
        f"{dtype} {rate / 1e9:,.1f} GFLOP/s" for dtype, rate in peaks.product_flops.items()
    )
    line = f"measured peaks: products {products}; reading memory {peaks.read_bytes / 1e9:,.1f} GB/s"
    if peaks.datasheet is None:
        return f"{line}; no datasheet peaks (--datasheet-flops, --datasheet-bytes give them)"
    given = (
        (peaks.datasheet_flops, 1e9, "GFLOP/s"),
        (peaks.datasheet_bytes, 1e9, "GB/s"),
    )
    told = [f"{value / unit:,.1f} {name}" for value, unit, name in given if value is not None]
    return f"{line}; datasheet ({peaks.datasheet}) {', '.join(told)}"


def left_out_words(result: BenchResult) -> Iterator[str]:
    for name, reason in result.peers_left_out.items():
        yield f"{name}: {reason}"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


# ---- tables ------------------------------------------------------------------------------------


def decode_table(result: BenchResult) -> Table:
    """A row for each number of samples; sections by prompt."""
    apart = {(s.num_samples, s.prompt_tokens): s for s in result.decode if not is_shared(s)}
    gains = {(g.num_samples, g.prompt_tokens): g for g in result.gains}
    marginal = {(m.num_samples, m.prompt_tokens): m for m in result.marginal}
    table = new_table(
        "decoding",
        *("P", "n", "tokens/s\nshared", "tokens/s\nown copies", "gain", "MFU", "MBU"),
        *("sample n+1\nms a token", "of the\nfirst"),
    )
    previous = None
    for step in filter(is_shared, result.decode):
        at = step.num_samples, step.prompt_tokens
        if previous not in (None, step.prompt_tokens):
            table.add_section()
        previous = step.prompt_tokens
        other, gain, more = apart.get(at), gains.get(at), marginal.get(at)
        table.add_row(
            f"{step.prompt_tokens:,}",
            f"{step.num_samples:,}",
            f"{step.tokens_per_second:,.0f}",
            "" if other is None else f"{other.tokens_per_second:,.0f}",
            "" if gain is None else gain_cell(gain),
            f"{step.mfu:.0%}",
            f"{step.mbu:.0%}",
            "" if more is None else f"{1e3 * more.seconds:.3g}",
            "" if more is None else f"{more.of_first:.0%}",
        )
    suffix = result.decode[0].suffix_tokens
    table.caption = (
        f"n samples of one prompt of P tokens, each after {suffix:,} of its own; the prefill, that "
        "sharing makes once and not n times, is not in it; ~ is within the spread of rounds; MFU "
        "and MBU of the shared step, of the peaks measured in the same run (MBU can pass 100% "
        "where all lies in a cache); n+1 from the difference to the next n"
    )
    return table


def gain_cell(gain: Gain) -> str:
    style, about = STYLES[gain.verdict], "~" * (gain.verdict == SAME)
    return f"[{style}]{about}{gain.ratio:.2f}x[/{style}]"


def steps_table(result: BenchResult) -> Table:
    """Seconds of every step, with what a profile or a datasheet says of them."""
    steps = (*result.prefill, *result.decode)
    predicted = any(step.predicted_seconds is not None for step in steps)
    sheet = " /\nsheet" if result.peaks.datasheet is not None else ""
    table = new_table(
        *("steps", "step", "P", "n", "median\nms", "spread", "tokens/s"),
        *(f"MFU{sheet}", f"MBU{sheet}"),
        *(["model\nms", "error"] if predicted else []),
    )
    for step in steps:
        cells = [
            *(step_name(step), f"{step.prompt_tokens:,}", f"{step.num_samples:,}"),
            *(f"{1e3 * step.seconds:.4g}", f"{step.spread:.1%}"),
            f"{step.tokens_per_second:,.0f}",
            share_cell(step.mfu, step.datasheet_mfu),
            share_cell(step.mbu, step.datasheet_mbu),
        ]
        if predicted:
            cells += [optional(step.predicted_seconds, 1e3, ".4g")]
            cells += [optional(step.prediction_error, 1, "+.0%")]
        table.add_row(*cells)
    table.caption = (
        f"medians of {len(steps[0].rounds)} rounds in turns, with the standard deviation between "
        "them; shared: one prompt for all rows, copies: one for each; matrix FLOPs and bytes as "
        "the engine's meter counts them"
        + ("; sheet: of the datasheet's peak" if sheet else "")
        + ("; model: what the profile predicts" if predicted else "")
    )
    return table


def step_name(step: StepFigures) -> str:
    if step.suffix_tokens == 0:
        return "prefill"
    return "shared" if is_shared(step) else "copies"


def share_cell(measured: float, datasheet: float | None) -> str:
    return f"{measured:.0%}" + ("" if datasheet is None else f" / {datasheet:.0%}")


def optional(value: float | None, scale: float, form: str) -> str:
    return "" if value is None else format(scale * value, form)


def calls_table(result: BenchResult) -> Table:
    table = new_table(
        "whole calls",
        *("engine", "P", "n", "tokens/s\nof the call", "tokens/s\ndecoding"),
        *("its step\n/ alone", "ours /\nthis"),
    )
    for call in sorted(result.calls, key=lambda c: (c.prompt_tokens, c.num_samples)):
        table.add_row(
            escape(f"{call.engine} {call.precision.partition('/')[0]}"),
            *(f"{call.prompt_tokens:,}", f"{call.num_samples:,}"),
            *(f"{call.tokens_per_second:,.0f}", f"{call.decode_tokens_per_second:,.0f}"),
            optional(call.over_step, 1, ".2f"),
            optional(call.ours_over, 1, ".2f"),
        )
    tokens = result.calls[0].new_tokens
    table.caption = (
        f"each sample draws {tokens:,} tokens; a call's decode step beside the step timed alone; "
        "ours by a peer's tokens/s of decoding"
    )
    return table


def new_table(title: str, *headings: str) -> Table:
    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    words = {"engine", "step"}
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right", no_wrap=True)
    return table
