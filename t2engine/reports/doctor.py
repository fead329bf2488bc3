"""What `t2 doctor` found, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ANY_NUMBER = 1 << 30


def print_examination(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    packages = ", ".join(f"{name} {version or '-'}" for name, version in found["packages"].items())
    gibibytes = found["memory_available_bytes"] / 2**30
    console.print(f"t2engine {found['t2engine']}, Python {found['python']}, {packages}")
    console.print(f"{found['cpu']}, {found['cores']} cores, {gibibytes:.1f} GiB free")
    console.print(f"GPU: {found['gpu'] or 'none'}")
    console.print(extension_line(found["extension"]))
    console.print(operations_table(found["operations"]))
    console.print(reasons(found["operations"]))


def extension_line(extension: dict[str, Any] | None) -> str:
    if extension is None:
        return "C++ extension: not built; `make build` or `pip install .` builds it"
    cuda = ", ".join(extension["cuda_architectures"]) or "not compiled (no nvcc at build time)"
    supported = ", ".join(extension["supported_isas"])
    others = [name for name in extension["built_isas"] if name not in extension["supported_isas"]]
    missing = f" (built, but not on this processor: {', '.join(others)})" if others else ""
    chosen = extension["chosen_isa"]
    return (
        f"C++ extension: uses [bold]{chosen}[/bold] of {supported}{missing}; CUDA kernels: {cuda}"
    )


def operations_table(operations: dict[str, Any]) -> Table:
    backends = ("cpp", "cuda", "triton", "torch")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("operation")
    for backend in backends:
        table.add_column(backend, justify="center")
    for name, entry in operations.items():
        cells = []
        for backend in backends:
            if backend not in entry["backends"]:
                cells.append("")
            elif entry["backends"][backend] is not None:
                cells.append("[yellow]no[/yellow]")
            else:
                cells.append("[green]used[/green]" if backend == entry["cpu"] else "yes")
        table.add_row(name, *cells)
    table.caption = "used: what runs on the CPU; empty: not written"
    return table


def print_choices(choices: list[dict[str, Any]]) -> None:
    """The table of prefix kernels, in the order in which slab_attention looks for one that fits."""
    table = Table(box=box.SIMPLE_HEAD, title="prefix attention on a GPU: the first row that fits")
    for column in ("backend", "kernel", "element", "head_dim", "queries", "GPU", "tile", "source"):
        table.add_column(column)
    for choice in choices:
        capability = choice["capability"]
        table.add_row(
            choice["backend"],
            choice["kernel"],
            f"{choice['element_size']} bytes",
            f"<= {choice['max_head_dim']}",
            "any" if choice["max_queries"] >= ANY_NUMBER else f"<= {choice['max_queries']}",
            f"{'=' if choice['kernel'].startswith('wgmma') else '>='} {capability / 10}",
            f"{choice['tile_rows']} x {choice['tile_keys']}",
            choice["source"],
        )
    Console(highlight=False).print(table)


def print_checks(checks: Iterable[Any]) -> int:
    """A line for each result of hardware.gpu_check as it comes; returns how many failed."""
    console = Console(highlight=False)
    count = failed = 0
    for check in checks:
        count += 1
        failed += not check.passed
        name = f"{check.operation} {check.backend} {check.dtype} {check.what}".strip()
        verdict = "[green]ok[/green]" if check.passed else "[red]FAILED[/red]"
        told = check.problem or f"error {check.error:.1e}, allowed {check.allowed:.1e}"
        console.print(f"  {verdict} {escape(name)}: {escape(told)}")
    console.print(f"{count} checks, {failed} failed")
    return failed


def reasons(operations: dict[str, Any]) -> str:
    """Each reason for a "no", once."""
    by_reason: dict[str, set[str]] = {}
    for entry in operations.values():
        for backend, reason in entry["backends"].items():
            if reason is not None:
                by_reason.setdefault(reason, set()).add(backend)
    return "\n".join(f"{', '.join(sorted(b))}: {reason}" for reason, b in by_reason.items())
