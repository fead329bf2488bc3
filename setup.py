"""Builds the C++/CUDA extension with CMake and Ninja. Metadata: pyproject.toml.

T2_CUDA=AUTO|ON|OFF in the environment decides whether csrc/cuda is compiled; AUTO looks for nvcc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """Configure and build CMakeLists.txt, leaving the module where setuptools expects it."""

    def build_extension(self, extension: Extension) -> None:
        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        # One directory per interpreter, kept: editable installs build in a fresh one otherwise.
        build_dir = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
        build_dir.mkdir(parents=True, exist_ok=True)
        ninja = shutil.which("ninja")
        if ninja is None or shutil.which("cmake") is None:
            raise SystemExit(
                "t2engine: building needs cmake and ninja on PATH: pip install cmake ninja"
            )
        configure = [
            "cmake",
            "-G",
            "Ninja",
            "-S",
            str(ROOT),
            "-B",
            str(build_dir),
            f"-DCMAKE_MAKE_PROGRAM={ninja}",  # an isolated build leaves a stale one in the cache
            f"-DPython3_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            f"-DT2_VERSION={self.distribution.get_version()}",
            f"-DT2_CUDA={os.environ.get('T2_CUDA', 'AUTO')}",
        ]
        try:
            subprocess.run(configure, check=True)
            subprocess.run(["cmake", "--build", str(build_dir)], check=True)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"t2engine: the extension was not built: {error}") from None


setup(
    ext_modules=[Extension("t2engine._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
