"""What `t2 doctor` found, as a person reads it."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


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


def reasons(operations: dict[str, Any]) -> str:
    """Each reason for a "no", once."""
    by_reason: dict[str, set[str]] = {}
    for entry in operations.values():
        for backend, reason in entry["backends"].items():
            if reason is not None:
                by_reason.setdefault(reason, set()).add(backend)
    return "\n".join(f"{', '.join(sorted(b))}: {reason}" for reason, b in by_reason.items())
