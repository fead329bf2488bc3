"""The picture of a run of benchmarks/marginal_sample.py: a column for each prompt length, above the
seconds of a step, below those of one sample in it, over the number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.marginal.judge import MOST_RATIO

OURS, WITHOUT, FLOOR = "#1f5fa8", "#c4572e", "#7a7a7a"
TICKS = (1, 4, 16, 64, 256, 512)
SIZE = (10.5, 6.0)  # inches
DOTS = 160  # an inch


def draw(record: Mapping[str, Any], picture: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    prompts = record["prompts"]
    figure, axes = pyplot.subplots(
        2, len(prompts), figsize=SIZE, sharex=True, sharey="row", squeeze=False
    )
    for (prompt_len, found), column in zip(prompts.items(), axes.T, strict=True):
        draw_column(found, *column)
        column[0].set_title(f"P = {int(prompt_len):,} prompt tokens", fontsize=10)
        column[0].text(
            0.03, 0.96, judged(found["verdict"]), va="top", transform=column[0].transAxes
        )
        column[1].set_xlabel("samples k of one prompt")
    axes[0, 0].set_ylabel("a step, ms")
    axes[1, 0].set_ylabel("a sample's token, ms")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.suptitle(title(record), fontsize=10.5)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.legend(handles[::-1], labels[::-1], loc="lower center", ncol=len(labels), frameon=False)
    figure.savefig(picture, dpi=DOTS)
    pyplot.close(figure)


def draw_column(found: Mapping[str, Any], above: Any, below: Any) -> None:
    """Seconds of a step in the axes above, divided by k in those below."""
    floors = {int(k): max(parts.values()) for k, parts in found["floor_seconds"].items()}
    shared, unshared = by_count(found["shared"]), by_count(found["unshared"])
    for axes, per_sample in ((above, False), (below, True)):

        def line(points: Mapping[int, float], scale: float = 1, divide: bool = per_sample) -> Any:
            each = [1000 * scale * s / (k if divide else 1) for k, s in points.items()]
            return list(points), each

        counts, floor = line(floors)
        _, ceiling = line(floors, MOST_RATIO)
        axes.fill_between(
            counts, floor, ceiling, color=FLOOR, alpha=0.25, lw=0, label=f"floor to {MOST_RATIO} x"
        )
        axes.plot(counts, floor, color=FLOOR, lw=1)
        axes.plot(*line(unshared), "--", color=WITHOUT, lw=1.5, label="sharing switched off")
        axes.plot(*line(shared), ".-", color=OURS, lw=1.3, ms=3.5, label="t2engine, prompt shared")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = [k for k in TICKS if k <= max(counts)]
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.grid(True, which="major", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)


def by_count(points: Mapping[str, float]) -> dict[int, float]:
    return {int(k): seconds for k, seconds in points.items()}


def judged(verdict: Mapping[str, Any]) -> str:
    lines = []
    if verdict["worst_ratio"] is not None:
        at = verdict["worst_ratio_at"]
        lines.append(f"at worst {verdict['worst_ratio']:.2f} x floor (k = {at})")
    if verdict["largest_jump"] is not None:
        j, k = verdict["largest_jump_from_to"]
        lines.append(f"largest jump {verdict['largest_jump']:.2f} tiles ({j} to {k})")
    return "\n".join(lines)


def title(record: Mapping[str, Any]) -> str:
    model, precision = record["model"], record["precision"]
    layout = f"{model['num_layers']} layers, hidden {model['hidden_size']:,}"
    kept = f"weights {precision['weights']}, keys {precision['cache']}"
    return (
        f"One decode step of k samples of one prompt: {layout}, vocabulary "
        f"{model['vocab_size']:,}, {kept}\n{record['threads']} threads, "
        f"{record['machine']['cpu']}, {record['date']}"
    )
