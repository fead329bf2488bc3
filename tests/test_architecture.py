"""The shape of the code: who may import whom, and that every operation has all its files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from t2engine.ops import OPS

ROOT = Path(__file__).parents[1]

# CONTRIBUTING, "Two halves and a bridge": a module imports only from rows above its own, or from
# its own package.
LAYERS = (
    {"schema", "files"},
    {"ops", "kernels", "_C", "metering", "laws"},
    {"model", "costs"},
    {"engine", "plan"},
    {"hardware", "study", "reports"},
    {"integrations"},
    {"cli"},
)
LAYER_OF = {name: row for row, names in enumerate(LAYERS) for name in names}
PLANNING = (
    *("schema", "files", "metering", "laws", "costs", "plan", "reports"),
    *("cli.main", "cli.plan", "cli.audit", "cli.choose", "cli.fit"),
)
HELPERS = {"__init__", "_op", "_packed_weight", "_huge_pages", "_attention_plan", "_prefix_choices"}
HEAVY = ("torch", "triton", "transformers")


def source_files() -> list[Path]:
    return sorted([*ROOT.glob("t2engine/**/*.py"), *ROOT.glob("kernels/*.py")])


def module_of(path: Path) -> str:
    """The part of the module's name that has a layer: "ops" for t2engine/ops/linear.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "kernels" else parts[1]


def imports(path: Path) -> set[str]:
    """Parts of t2engine that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "t2engine":
            names = [f"t2engine.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("t2engine.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", source_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_up(path: Path) -> None:
    own = module_of(path)
    if own == "__init__":
        return
    assert own in LAYER_OF, f"{own} has no layer; give it one in tests/test_architecture.py"
    for name in imports(path) - {own}:
        assert LAYER_OF[name] < LAYER_OF[own], f"{path.name} ({own}) must not import {name}"


@pytest.mark.parametrize("path", source_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_are_absolute(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    relative = [n.lineno for n in nodes if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative, f"relative imports on lines {relative}"


@pytest.mark.parametrize("name", PLANNING)
def test_planning_never_imports_torch(name: str) -> None:
    package = ROOT / "t2engine" / name.replace(".", "/")
    modules = [f"t2engine.{name}"]
    if package.is_dir():
        modules = [f"t2engine.{name}.{path.stem}" for path in package.glob("[!_]*.py")]
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        f"sys.exit(' '.join(m for m in {HEAVY} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"{name} imports {done.stderr}"


@pytest.mark.parametrize("name", OPS)
def test_operation_has_its_files(name: str) -> None:
    """One stem: contract, test, benchmark, and a file for every backend it declares.

    Those are C++, or CUDA and Triton where only a GPU needs the operation.
    """
    op = OPS[name]
    wanted = [
        f"t2engine/ops/{name}.py",
        f"tests/ops/test_{name}.py",
        f"benchmarks/bench_{name}.py",
    ]
    folders = {"cpp": "csrc/cpu/{}.cpp", "cuda": "csrc/cuda/{}.cu", "triton": "kernels/{}.py"}
    wanted += [folders[backend].format(name) for backend in op.native]
    assert "cpp" in op.native or {"cuda", "triton"} <= set(op.native)
    assert [path for path in wanted if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    ("folder", "suffix", "ignored"),
    [
        ("csrc/cpu", ".cpp", {"table", "product", "pack_weight", "decoder", "sampling"}),
        ("csrc/cuda", ".cu", set()),
        ("kernels", ".py", {"__init__", "sample_cuts"}),
        ("t2engine/ops", ".py", HELPERS),
    ],
)
def test_every_kernel_belongs_to_an_operation(folder: str, suffix: str, ignored: set[str]) -> None:
    stems = {path.stem for path in (ROOT / folder).glob(f"*{suffix}")}
    assert stems - ignored <= set(OPS)


def test_no_preprocessor_conditions() -> None:
    """Which machine a kernel is for is decided by which file is compiled."""
    sources = [path for path in ROOT.glob("csrc/**/*") if path.is_file()]
    assert len(sources) > 20
    for path in sources:
        assert "#if" not in path.read_text(), path


def test_files_fit_the_eye() -> None:
    too_long = [p for p in source_files() if len(p.read_text().splitlines()) > 300]
    assert too_long == []
