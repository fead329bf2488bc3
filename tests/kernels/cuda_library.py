"""CUDA sources compiled for the CPU, against the headers of cuda_on_cpu/."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.backends import require

HERE = Path(__file__).parent / "cuda_on_cpu"
CSRC = Path(__file__).parents[2] / "csrc"
LAUNCH = re.compile(r"(\w+)<<<(.*?)>>>\(", re.DOTALL)


def build_library(folder: Path, harness: str, sources: list[str]) -> Path:
    """A shared library of the harness and these sources of csrc/cuda.

    A header of cuda_on_cpu/ takes the place of the one in csrc/cuda that has its name.
    """
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        require("cpp", "no C++ compiler")
    shutil.copytree(CSRC, folder / "csrc")
    for header in (folder / "csrc/cuda").rglob("*.h"):
        if (HERE / header.name).is_file():
            shutil.copy(HERE / header.name, header)
    for header in (folder / "csrc/cuda").rglob("*.h"):
        header.write_text(LAUNCH.sub(r"cuda_on_cpu::launch(\1, \2)(", header.read_text()))
    compiled = [HERE / harness]
    for source in sources:
        path = folder / "csrc/cuda" / source
        compiled.append(path.with_suffix(".cpp"))
        compiled[-1].write_text(LAUNCH.sub(r"cuda_on_cpu::launch(\1, \2)(", path.read_text()))
    target = folder / "cuda_on_cpu.so"
    flags = ["-std=c++17", "-O2", "-w", "-shared", "-fPIC", f"-I{HERE}", f"-I{folder / 'csrc'}"]
    subprocess.run([str(compiler), *flags, *map(str, compiled), "-o", str(target)], check=True)
    return target
