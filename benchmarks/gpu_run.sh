#!/usr/bin/env bash
# What waits for a GPU (benchmarks/results/OWED.md), on a machine with nvcc, cmake, ninja, pybind11,
# torch, triton, transformers and pytest, and no network. A stage ends within ten minutes, can be
# called alone or again (what its record has is not measured again), and leaves its results in $OUT
# as they come; the first one builds where nothing is built. Wheels of peers (flashinfer-python,
# apache-tvm-ffi, xformers) are installed from build/carry/ if it is there.
#
# 15 minutes in all, two calls of less than ten each:
#   OUT=results QUICK=1 benchmarks/gpu_run.sh build test decode kernels
#   OUT=results QUICK=1 benchmarks/gpu_run.sh anchors attention training calibrate table
# 30 minutes in all, three calls of less than ten each:
#   OUT=results LIMIT=300 benchmarks/gpu_run.sh build test
#   OUT=results QUICK=1 benchmarks/gpu_run.sh sanitize decode kernels
#   OUT=results LIMIT=190 benchmarks/gpu_run.sh anchors attention training calibrate table
# Where $OUT is emptied between calls, render the table from all records afterwards, anywhere:
#   python -m benchmarks.gpu.table */*.jsonl
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

STAGES="build test sanitize anchors kernels attention decode training calibrate table"
for stage in "${@:-build}"; do
  if [[ " $STAGES " != *" $stage "* ]]; then
    echo "gpu_run.sh: a stage must be one of $STAGES, got '$stage'" >&2
    exit 2
  fi
done

QUICK=${QUICK:-}
LIMIT=${LIMIT:-$([[ $QUICK ]] && echo 120 || echo 560)} # seconds of a stage but build
if ! [[ $LIMIT =~ ^[1-9][0-9]*$ ]]; then
  echo "gpu_run.sh: LIMIT must be a number of seconds, got '$LIMIT'" >&2
  exit 2
fi
OUT=$(realpath -m "${OUT:-build/gpu}")
SITE=$PWD/build/gpu-site
CARRY=$PWD/build/carry
mkdir -p "$OUT"
export PYTHONPATH=$SITE PYTHONUNBUFFERED=1
export FLASHINFER_WORKSPACE_BASE=$PWD/build # what it compiles is kept
CAPABILITY=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1)
export FLASHINFER_CUDA_ARCH_LIST=${CAPABILITY/#9.0/9.0a}

# within SECONDS COMMAND...
within() {
  timeout --signal=INT --kill-after=10 "$@"
}

pip_install() {
  python3 -m pip install --quiet --no-index --no-deps --target "$SITE" "$@"
}

# What t2engine, its tests and these benchmarks import; a line for each package that is not there.
missing() {
  python3 - <<'PYTHON'
import importlib.util
needs = {
    "torch": "everything", "triton": "its kernels", "numpy": "everything",
    "tokenizers": "loading a model", "safetensors": "loading a model",
    "jinja2": "LLM.chat", "scipy": "t2engine.laws", "typer": "the t2 command",
    "rich": "the t2 command", "transformers": "test, decode", "pytest": "test, sanitize",
    "pytest_benchmark": "test", "hypothesis": "test", "pybind11": "build",
    "flashinfer": "attention",
}
for name, use in needs.items():
    if importlib.util.find_spec(name) is None:
        print(f"missing: {name}, which {use} needs")
PYTHON
}

describe_machine() {
  nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,memory.total --format=csv
  nvcc --version | tail -2
  python3 -c 'import sys, torch, triton; print("python", sys.version.split()[0],
    "torch", torch.__version__, "triton", triton.__version__)'
  git rev-parse HEAD 2>/dev/null
  missing
}

stage_build() {
  rm -rf "$SITE"
  mkdir -p "$SITE"
  if compgen -G "$CARRY/*.whl" >/dev/null; then
    pip_install "$CARRY"/*.whl || echo "gpu_run.sh: the wheels of $CARRY were not installed" >&2
  fi
  describe_machine 2>&1 | tee "$OUT/machine.txt"
  T2_CUDA=ON within 590 python3 -m pip install --quiet --no-index --no-deps \
    --no-build-isolation --upgrade --target "$SITE" . 2>&1 | tee "$OUT/build.txt" &&
    touch "$SITE/.built"
}

# Exit code 3 is a process whose CUDA context a kernel broke: the record says which, and a new one
# goes on.
measure() {
  local name=$1 began=$SECONDS left code
  for _ in 1 2 3 4 5 6; do
    left=$((LIMIT - (SECONDS - began)))
    ((left > 20)) || return 0
    within "$left" python3 -m "benchmarks.gpu.$name" --out "$OUT/$name.jsonl" \
      --seconds "$((left - 20))" ${QUICK:+--quick} 2>&1 | tee -a "$OUT/log.txt"
    code=$?
    ((code == 3)) || return "$code"
  done
  return 3
}

# The tests of operations that have a backend for GPUs.
operation_tests() {
  python3 -c 'from t2engine.ops import OPS
names = [name for name, op in OPS.items() if {"cuda", "triton"} & set(op.native)]
print(*(f"tests/ops/test_{name}.py" for name in names))'
}

# Every backend on real tensors; a GPU backend that cannot run is a failure, not a skip. QUICK
# leaves out what tests kernels without a GPU: emulation, and machine code.
stage_test() {
  local paths=(tests/engine/test_gpu_engine.py tests/kernels tests/engine/test_device*.py)
  local without=() workers=()
  [[ $QUICK ]] && without=(--ignore-glob='*cuda_on_cpu*' --ignore-glob='*compile*'
    --ignore-glob='*cuda_build*' -k 'not copies')
  python3 -c 'import xdist' 2>/dev/null && workers=(-n 8)
  # shellcheck disable=SC2046 # one path to a word
  T2_REQUIRE=torch,cpp,cuda,triton within "$LIMIT" python3 -m pytest -q --maxfail=60 \
    "${workers[@]}" "${without[@]}" $(operation_tests) "${paths[@]}" 2>&1 | tee "$OUT/tests.txt"
}

# Out-of-bounds accesses, then races, of the CUDA kernels, with an allocation of its own per tensor.
stage_sanitize() {
  local failed=0 tool
  for tool in memcheck racecheck; do
    # shellcheck disable=SC2046
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 within $((LIMIT / 2)) compute-sanitizer \
      --tool "$tool" --error-exitcode 1 --target-processes all python3 -m pytest -q \
      $(operation_tests) -k 'cuda and test_backend_matches_reference' 2>&1 |
      tee "$OUT/$tool.txt" || failed=1
  done
  return "$failed"
}

stage_anchors() {
  measure ceilings
  # What it compiles takes as long as it takes; attention leaves out what is not there.
  LIMIT=$((LIMIT > 240 ? LIMIT : 240)) measure warm_peers
}

stage_kernels() { measure kernels; }
stage_attention() { measure attention_peers; }
stage_decode() { measure decode; }

# Optimiser steps of a model of 100M parameters, questions drawn ahead; of an H200's peak unless told.
stage_training() {
  within "$LIMIT" python3 -m benchmarks.training_rate steps --device cuda \
    --peak "${PEAK:-989e12}" 2>&1 | tee "$OUT/training.txt"
}

# A profile of this GPU; one that is there is not measured again, one cut off goes on.
stage_calibrate() {
  [[ -e $OUT/profile.json ]] && return 0
  # A quick calibration measures for a minute; kernels compile and joules are counted beside.
  within $((LIMIT > 200 ? LIMIT : 200)) python3 -m t2engine.cli.main calibrate \
    --device cuda --quick --force --out "$OUT/profile.json" 2>&1 | tee -a "$OUT/log.txt"
}

# Beside the table, all records in one file of the GPU's name, as benchmarks/results keeps them.
stage_table() {
  python3 -m benchmarks.gpu.table "$OUT"/*.jsonl --out "$OUT/table.md" && cat "$OUT/table.md"
  local gpu
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 | tr ' ' '-')
  mkdir -p "$OUT/results" && cat "$OUT"/*.jsonl >"$OUT/results/${gpu:-no-gpu}.jsonl"
}

if [[ ! -e $SITE/.built && " $* " != *" build "* && "$*" != table ]]; then
  set -- build "$@"
fi
failed=()
for stage in "${@:-build}"; do
  began=$SECONDS
  "stage_$stage" || failed+=("$stage")
  echo "gpu_run.sh: $stage took $((SECONDS - began)) s"
  if [[ ! -e $SITE/.built && $stage == build ]]; then
    break
  fi
done
if ((${#failed[@]})); then
  echo "gpu_run.sh: failed: ${failed[*]}" >&2
  exit 1
fi
