"""Importing t2engine where it is built, installed elsewhere, or not built at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import t2engine

ROOT = Path(__file__).parents[1]
WITHOUT_EDITABLE = (
    "import sys; sys.meta_path = [m for m in sys.meta_path if 'editable' not in repr(m).lower()]; "
)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The repository's sources without the built extension."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "t2engine", tmp_path / "sources" / "t2engine", ignore=ignore)
    return tmp_path / "sources"


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    places = ", ".join(repr(str(place)) for place in path)
    code = f"{WITHOUT_EDITABLE}sys.path[:0] = [{places}]; {code}"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def test_without_the_extension_it_imports_says_so_and_samples(sources: Path) -> None:
    done = run(
        "import t2engine; from t2engine import LLM, SamplingParams; "
        "params = SamplingParams(seed=1, temperature=0); "
        "print(LLM(device='cpu').generate('9-1+3=', params)[0].outputs[0].text)",
        sources,
    )
    assert done.stderr.count("\n") == 1
    assert "the C++ extension is not built" in done.stderr
    assert "make build" in done.stderr
    assert done.stdout.strip() == "8 11"


def test_sources_find_the_extension_of_an_installed_package(sources: Path, tmp_path: Path) -> None:
    """As after a plain install, when Python is started in the repository."""
    extension = next((ROOT / "t2engine").glob("_C*.so"), None)
    if extension is None:
        extension = Path(sys.modules["t2engine._C"].__file__ or "")
    installed = tmp_path / "site" / "t2engine"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    shutil.copy(extension, installed)
    code = "import t2engine, t2engine._C; print(t2engine.__file__, t2engine._C.__file__)"
    done = run(code, sources, tmp_path / "site")
    assert done.stderr == ""
    package, native = done.stdout.split()
    assert package.startswith(str(sources))
    assert native.startswith(str(installed))


def test_the_extension_is_of_this_version(native: ModuleType) -> None:
    assert native.__version__ == t2engine.__version__


def test_importing_the_package_does_not_import_torch() -> None:
    done = run(
        "import t2engine; assert 'torch' not in sys.modules; t2engine.SamplingParams()", ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Engine'"):
        _ = t2engine.Engine


def test_every_package_is_installed():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("t2engine/*/**/__init__.py")]
    found = {".".join(folder.parts) for folder in folders}
    assert sorted(listed) == sorted({"t2engine", "t2engine.kernels"} | found)
