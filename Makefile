# make run    sets everything up and shows the whole job on the shipped model
# make test   sets everything up and runs the tests
.PHONY: build run test lint bench golden clean

PYTHON ?= python3
PIP_TORCH ?=
BIN := .venv/bin
STAMP := .venv/.t2engine-built
SOURCES := pyproject.toml setup.py CMakeLists.txt $(shell find csrc -type f)

build: $(STAMP)

# A torch that works outside is used as it is (a GPU machine's own build); else the CPU wheel.
.venv/.torch: requirements-cpu.txt
	@if $(PYTHON) -c 'import torch, sys; sys.exit(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8))' 2>/dev/null; then \
	  $(PYTHON) -m venv --system-site-packages .venv; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_TORCH) \
	    -r requirements-cpu.txt; \
	fi
	@touch $@

$(STAMP): .venv/.torch $(SOURCES)
	@echo 'installing what the build and the tests need, then building the extension ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  'setuptools>=77' wheel 'pybind11>=2.13' 'cmake>=3.22' ninja
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

run: build
	@$(BIN)/t2 demo

test: build
	T2_REQUIRE=torch,cpp,triton $(BIN)/python -m pytest

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' | xargs $(BIN)/clang-format --dry-run --Werror

bench: build
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-group-by=group

golden: build
	$(BIN)/python -m tests.golden

clean:
	rm -rf build dist *.egg-info t2engine/_C*.so .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
