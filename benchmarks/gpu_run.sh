#!/usr/bin/env bash
# What waits for a GPU (benchmarks/results/OWED.md), on a machine with nvcc, torch, triton, pytest
# and pytest-benchmark, and no network. Each stage ends within ten minutes and leaves its results
# in $OUT as they come:
#
#   OUT=results benchmarks/gpu_run.sh build test      # then: sanitize bench
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=$(realpath -m "${OUT:-build/gpu}")
SITE=$PWD/build/gpu-site
mkdir -p "$OUT"
export PYTHONPATH=$SITE PYTHONUNBUFFERED=1
OPS=(tests/ops/test_merge_states.py tests/ops/test_shared_prefix_attention.py)

within_ten_minutes() {
  timeout --signal=INT 590 "$@"
}

stage_build() {
  rm -rf "$SITE"
  T2_CUDA=ON within_ten_minutes python3 -m pip install --quiet --no-index --no-deps \
    --no-build-isolation --target "$SITE" . 2>&1 | tee "$OUT/build.txt"
  {
    nvidia-smi --query-gpu=name,driver_version,clocks.sm,memory.total --format=csv
    nvcc --version | tail -2
    python3 -c 'import torch, triton; print("torch", torch.__version__, "triton", triton.__version__)'
    git rev-parse HEAD 2>/dev/null || true
  } | tee "$OUT/machine.txt"
}

# Every backend on real tensors; a GPU backend that cannot run is a failure, not a skip.
stage_test() {
  T2_REQUIRE=torch,cpp,cuda,triton within_ten_minutes python3 -m pytest -q \
    "${OPS[@]}" tests/kernels/test_triton.py --junitxml="$OUT/tests.xml" 2>&1 |
    tee "$OUT/tests.txt"
}

# Out-of-bounds accesses and races of the CUDA kernels, with an allocation of its own per tensor.
stage_sanitize() {
  for tool in memcheck racecheck; do
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 within_ten_minutes compute-sanitizer --tool "$tool" \
      --error-exitcode 1 --target-processes all python3 -m pytest -q "${OPS[@]}" \
      -k 'cuda and test_backend_matches_reference' 2>&1 | tee "$OUT/$tool.txt"
  done
}

stage_bench() {
  for name in bench_merge_states bench_shared_prefix_attention bench_gpu_decode; do
    within_ten_minutes python3 -m pytest -q "benchmarks/$name.py" --benchmark-only \
      -k 'cuda or triton' --benchmark-json="$OUT/$name.json" 2>&1 | tee "$OUT/$name.txt"
  done
}

for stage in "${@:-build}"; do
  case $stage in
    build | test | sanitize | bench) "stage_$stage" ;;
    *)
      echo "gpu_run.sh: a stage must be build, test, sanitize or bench, got '$stage'" >&2
      exit 2
      ;;
  esac
done
