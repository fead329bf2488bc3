"""What the build makes of csrc/cuda: for which architectures, at which cost, and without nvcc."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pybind11
import pytest

from t2engine.ops import OPS
from tests.kernels.test_cuda_on_cpu import ELSEWHERE, Array

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
HARNESS = Path(__file__).parent / "cuda_on_cpu"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # pip's cmake and ninja
needs_cmake = pytest.mark.skipif(shutil.which("cmake", path=PATH) is None, reason="no cmake")
COPY = r"LDGSTS\.\S*128"
ATTENTION_INSTRUCTIONS = [  # kernel, architectures it is compiled for, patterns
    ("fma_prefix_kernel", 2, [COPY, r"FFMA"]),
    ("fma_suffix_kernel", 2, [COPY, r"FFMA"]),
    (
        "mma_prefix_kernel",
        2,
        [COPY, r"HMMA\.16816\.F32", r"LDSM\.16\.M88\.4", r"LDSM\.16\.MT88\.4"],
    ),
    (
        "mma_suffix_kernel",
        2,
        [COPY, r"HMMA\.16816\.F32", r"LDSM\.16\.M88\.4", r"LDSM\.16\.MT88\.4"],
    ),
    (
        "wgmma_prefix_kernel",
        1,
        [r"UTMALDG\.3D", r"HGMMA\.64x128x16\.F32", r"HGMMA.*tnspB", r"USETMAXREG"],
    ),
]
CUDA_OPS = [name for name, op in OPS.items() if "cuda" in op.native]
HARNESSED = [name for name in CUDA_OPS if f"{name}.cu" not in ELSEWHERE]


@pytest.fixture
def built(native: ModuleType) -> Path:
    """The extension, if it was built with CUDA."""
    if not native.cuda_architectures:
        pytest.skip("the extension was built without CUDA")
    return Path(native.__file__)


@pytest.fixture(scope="module")
def cuobjdump() -> str:
    """The CUDA toolkit's, or the one in triton's wheel."""
    found = shutil.which("cuobjdump")
    if found is None:
        triton = pytest.importorskip("triton", reason="neither cuobjdump nor triton")
        found = str(Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump")
    if not Path(found).is_file():
        pytest.skip("no cuobjdump")
    return found


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_every_source_is_compiled_for_every_architecture(built, native, cuobjdump):
    asked = re.search(r'CUDA_ARCHITECTURES "([^"]+)"', (ROOT / "CMakeLists.txt").read_text())
    architectures = [f"sm_{name.removesuffix('-real')}" for name in asked[1].split(";")]
    assert native.cuda_architectures == architectures
    found = re.findall(r"\.(sm_\w+)\.cubin", run(cuobjdump, "--list-elf", str(built)))
    sources = len(list((CSRC / "cuda").glob("*.cu")))
    for_hopper = ["sm_90a"] * len(list((CSRC / "cuda/hopper").glob("*.cu")))
    assert sorted(found) == sorted(architectures * sources + for_hopper)


def test_no_cuda_kernel_spills(built, cuobjdump):
    usage = run(cuobjdump, "-res-usage", str(built))
    kernels = re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    for name in (
        *HARNESSED,
        *(kernel.removesuffix("_kernel") for kernel, *_ in ATTENTION_INSTRUCTIONS),
    ):
        assert any(f"{name}_kernel" in kernel for kernel, *_ in kernels)
    assert [k for k in kernels if k[2:] != ("0", "0")] == []


@functools.cache
def machine_code(cuobjdump: str, built: Path) -> list[str]:
    """Of every kernel, its name first. Reading it takes a while."""
    return re.split(r"\n\s+Function : ", run(cuobjdump, "-sass", str(built)))[1:]


def test_aligned_rows_are_read_16_bytes_at_a_time(built, native, cuobjdump):
    kernels = machine_code(cuobjdump, built)
    for name, elements in {
        "rms_norm": 3,
        "silu_mul": 3,
        "sample_tokens": 3,
        "step_update": 1,
    }.items():
        own = [kernel for kernel in kernels if f"{name}_kernel" in kernel.split("\n", 1)[0]]
        wide = [kernel for kernel in own if "LDG.E.128" in kernel]
        assert len(own) == 2 * len(wide) == 2 * elements * len(native.cuda_architectures)


@pytest.mark.parametrize(("kernel", "architectures", "instructions"), ATTENTION_INSTRUCTIONS)
def test_attention_is_made_of_the_instructions_meant(
    built, cuobjdump, kernel, architectures, instructions
):
    """Among them copies to shared memory, past the registers: of 16 bytes, or of whole boxes."""
    functions = [
        code
        for code in machine_code(cuobjdump, built)
        if re.match(rf"\S*\d{kernel}", code.partition("\n")[0])
    ]
    assert len(functions) % architectures == 0
    assert functions
    for function in functions:
        for instruction in instructions:
            assert re.search(instruction, function), (function.splitlines()[0], instruction)


def test_the_extension_needs_no_driver(native):
    """cudart is linked in and opens the driver when a kernel is launched, not before."""
    if shutil.which("ldd") is None:
        pytest.skip("no ldd")
    libraries = run("ldd", native.__file__)
    assert "libc" in libraries
    assert "libcuda" not in libraries


def test_cuda_and_no_cuda_have_the_same_functions():
    """Without nvcc, no_cuda.cpp stands in for every .cu file."""
    declared = re.findall(r"void (\w+)_cuda\(", (CSRC / "cuda_ops.h").read_text())
    refusing = re.findall(r"void (\w+)_cuda\(", (CSRC / "cuda/no_cuda.cpp").read_text())
    assert sorted(declared) == sorted(refusing) == sorted(CUDA_OPS)
    for name in CUDA_OPS:
        assert f"void {name}_cuda(" in (CSRC / f"cuda/{name}.cu").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the linker's options are GNU's")
def test_without_nvcc_every_function_refuses(tmp_path):
    """The link fails if no_cuda.cpp lacks one; each that it has throws before it reads anything."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    target = tmp_path / "no_cuda.so"
    sources = str(HARNESS / "harness.cpp"), str(CSRC / "cuda/no_cuda.cpp")
    flags = ("-std=c++17", "-w", "-shared", "-fPIC", "-Wl,--no-undefined")
    run(compiler, *flags, f"-I{HARNESS}", f"-I{CSRC}", *sources, "-o", str(target))
    library = ctypes.CDLL(str(target))
    for name in HARNESSED:
        function = getattr(library, name)
        function.restype = ctypes.c_char_p
        error = function((Array * 20)(), ctypes.c_float(1))
        assert error == b"t2engine was built without CUDA"


def configure(folder: Path, setting: str) -> subprocess.CompletedProcess[str]:
    """CMake's verdict where no CUDA compiler works: CUDACXX names one that is not there."""
    return subprocess.run(
        [
            *(
                str(shutil.which("cmake", path=PATH)),
                "-G",
                "Ninja",
                "-S",
                str(ROOT),
                "-B",
                str(folder),
                f"-DT2_CUDA={setting}",
            ),
            f"-DPython3_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ],
        env=os.environ | {"PATH": PATH, "CUDACXX": str(folder / "no-such-nvcc")},
        capture_output=True,
        text=True,
    )


@needs_cmake
def test_cuda_on_without_nvcc_is_a_clear_error(tmp_path):
    done = configure(tmp_path, "ON")
    assert done.returncode != 0
    assert "T2_CUDA=ON needs nvcc" in done.stderr
    again = configure(tmp_path, "AUTO")
    assert again.returncode == 0, again.stderr
    assert "no CUDA kernels (T2_CUDA=AUTO)" in again.stdout


@needs_cmake
def test_a_misspelt_setting_is_refused(tmp_path):
    done = configure(tmp_path, "YES")
    assert done.returncode != 0
    assert "T2_CUDA must be AUTO, ON or OFF, got 'YES'" in done.stderr
