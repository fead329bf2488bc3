"""Samples and their costs, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from t2engine.schema import RequestOutput, SampleCost

MOST_SHOWN = 16  # samples listed under a prompt


def print_samples(outputs: Sequence[RequestOutput]) -> None:
    console = Console(highlight=False)
    for output in outputs:
        console.print(f"\n[bold]{escape(output.prompt or list(output.prompt_token_ids))}[/bold]")
        for sample in output.outputs[:MOST_SHOWN]:
            text = escape(sample.text)
            console.print(f"  [dim]{sample.index:>4}  {sample.finish_reason:<6}[/dim] {text}")
        hidden = len(output.outputs) - MOST_SHOWN
        if hidden > 0:
            console.print(f"  [dim]... and {hidden} more (--json or --out has them all)[/dim]")
    console.print()
    console.print(cost_table(outputs))


def escape(value: object) -> str:
    from rich.markup import escape as escape_markup

    return escape_markup(str(value))


def cost_table(outputs: Sequence[RequestOutput], most: int = MOST_SHOWN) -> Table:
    """What one sample of each prompt cost on average, and all together in total."""
    table = Table(title="cost per sample", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("prompt", no_wrap=True, max_width=32)
    for name in ("samples", "tokens", "prefill", "decode", "read if alone", "read shared", "time"):
        table.add_column(name, justify="right")
    for output in outputs[:most]:
        tokens = sum(len(sample.token_ids) for sample in output.outputs)
        name = escape(output.prompt or f"{len(output.prompt_token_ids)} tokens")
        table.add_row(name, *cost_cells(output.cost, len(output.outputs), tokens))
    if len(outputs) > most:
        table.add_row(f"... and {len(outputs) - most} more prompts", *[""] * 7)
    if len(outputs) > 1:
        samples = sum(len(output.outputs) for output in outputs)
        tokens = sum(len(s.token_ids) for output in outputs for s in output.outputs)
        table.add_section()
        cells = total_cells([output.cost for output in outputs], samples, tokens)
        table.add_row("all prompts", *cells)
    table.caption = (
        "FLOPs of matrix products, bytes of weights, keys and values; the prompt's one prefill is "
        "divided among its samples"
    )
    return table


def cost_cells(cost: SampleCost, samples: int, tokens: int) -> list[str]:
    return [
        f"{samples:,}",
        f"{tokens / samples:.1f}",
        si(cost.prefill_flops / samples, "FLOP"),
        si(cost.decode_flops / samples, "FLOP"),
        si(cost.logical_bytes / samples, "B"),
        si(cost.physical_bytes / samples, "B"),
        si(cost.seconds / samples, "s"),
    ]


def total_cells(costs: Sequence[SampleCost], samples: int, tokens: int) -> list[str]:
    return [
        f"{samples:,}",
        f"{tokens / samples:.1f}",
        si(sum(c.prefill_flops for c in costs) / samples, "FLOP"),
        si(sum(c.decode_flops for c in costs) / samples, "FLOP"),
        si(sum(c.logical_bytes for c in costs) / samples, "B"),
        si(sum(c.physical_bytes for c in costs) / samples, "B"),
        si(sum(c.seconds for c in costs) / samples, "s"),
    ]


def si(value: float, unit: str) -> str:
    """Three significant digits with a decimal prefix: 1.23 GFLOP."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    for factor, prefix in ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
