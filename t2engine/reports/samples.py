"""Samples and their costs, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
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
    return escape_markup(str(value))


# Heading, unit, and the value in a cost.
COLUMNS: dict[str, tuple[str, Callable[[SampleCost], float]]] = {
    "prefill": ("FLOP", lambda cost: cost.prefill_flops),
    "decode": ("FLOP", lambda cost: cost.decode_flops),
    "read alone": ("B", lambda cost: cost.logical_bytes),
    "read shared": ("B", lambda cost: cost.physical_bytes),
    "time": ("s", lambda cost: cost.seconds),
}
PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))


def cost_table(outputs: Sequence[RequestOutput], most: int = MOST_SHOWN) -> Table:
    """What one sample of each prompt cost on average, and one of all prompts together."""
    shown = [(name_of(output), [output]) for output in outputs[:most]]
    if len(outputs) > 1:
        shown.append((f"all {len(outputs)} prompts", list(outputs)))
    rows = [(name, averages(group)) for name, group in shown]
    table = Table(title="cost per sample", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("prompt", no_wrap=True, max_width=16)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    scales = {}
    for column, (unit, _) in COLUMNS.items():
        scale, prefix = scale_for(max(row[column] for _, row in rows))
        scales[column] = scale
        heading = column.replace(" ", "\n")
        table.add_column(f"{heading}\n{prefix}{unit}", justify="right", no_wrap=True)
    for name, row in rows:
        if name.startswith("all ") and len(outputs) > 1:
            table.add_section()
        cells = [f"{row[column] / scale:,.3g}" for column, scale in scales.items()]
        table.add_row(escape(name), f"{row['samples']:,.0f}", f"{row['tokens']:.1f}", *cells)
    table.caption = (
        "matrix FLOPs; bytes of weights, keys and values, as if each sample read its own prompt, "
        "and as shared; a prompt's one prefill is divided among its samples"
    )
    return table


def name_of(output: RequestOutput) -> str:
    return output.prompt or f"{len(output.prompt_token_ids)} tokens"


def averages(outputs: Sequence[RequestOutput]) -> dict[str, float]:
    """The columns of one row, per sample, in FLOPs, bytes and seconds."""
    samples = sum(len(output.outputs) for output in outputs)
    tokens = sum(len(sample.token_ids) for output in outputs for sample in output.outputs)
    row = {"samples": float(samples), "tokens": tokens / samples}
    for column, (_, value) in COLUMNS.items():
        row[column] = sum(value(output.cost) for output in outputs) / samples
    return row


def scale_for(largest: float) -> tuple[float, str]:
    """The decimal prefix in which the largest of a column has one to three digits."""
    return next(((scale, p) for scale, p in PREFIXES if largest >= scale), (1e-6, "µ"))
