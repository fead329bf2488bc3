"""What `t2 demo` shows: some questions with their samples, pass@k, and what a sample cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from t2engine.laws.passk import PassAtK
from t2engine.reports.samples import cost_table, escape
from t2engine.schema import RequestOutput

SHOWN = 5


def print_demo(
    model: str,
    gold: Sequence[str],
    outputs: Sequence[RequestOutput],
    num_correct: Sequence[int],
    pass_at_k: Sequence[PassAtK],
) -> None:
    """gold: the right completion of each prompt; num_correct: right samples of each."""
    console = Console(highlight=False)
    samples = len(outputs[0].outputs)
    console.print(
        f"\n[bold]{len(outputs)} held-out questions x {samples} samples[/bold] from {model}, "
        "each prompt computed and stored once\n"
    )
    console.print(answers_table(gold, outputs, num_correct))
    console.print(pass_table(pass_at_k))
    console.print(cost_table(outputs, most=SHOWN))


def answers_table(
    gold: Sequence[str], outputs: Sequence[RequestOutput], num_correct: Sequence[int]
) -> Table:
    table = Table(title="some of the answers", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("question", "right answer", "most frequent sample"):
        table.add_column(name)
    table.add_column("right", justify="right")
    for output, answer, correct in list(zip(outputs, gold, num_correct, strict=True))[:SHOWN]:
        text, times = Counter(sample.text for sample in output.outputs).most_common(1)[0]
        total = len(output.outputs)
        table.add_row(
            escape(output.prompt), answer, f"{escape(text)} ({times}x)", f"{correct} of {total}"
        )
    return table


def pass_table(estimates: Sequence[PassAtK]) -> Table:
    table = Table(title="pass@k", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("samples k", "pass@k", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("")
    for estimate in estimates:
        bar = "█" * round(40 * estimate.mean)
        interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
        table.add_row(str(estimate.k), f"{estimate.mean:.3f}", interval, bar)
    return table
