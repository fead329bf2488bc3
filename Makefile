# make run    sets everything up and shows the whole job on the shipped model
# make test   sets everything up and runs the tests
.PHONY: build run test lint bench bench-peers golden clean

PYTHON ?= python3
PIP_TORCH ?=
PEERS ?= .venv/bin/python
PEERS_OPTIONS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := pyproject.toml setup.py CMakeLists.txt $(shell find csrc -type f)

build: .venv/.t2-dev

# A torch that works outside is used as it is (a GPU machine's own build); else the CPU wheel.
.venv/.t2-torch: requirements-cpu.txt
	@if $(PYTHON) -c 'import torch, sys; \
	    sys.exit(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8))' 2>/dev/null; then \
	  $(PYTHON) -m venv --system-site-packages .venv; \
	else \
	  echo 'installing torch ...' && $(PYTHON) -m venv .venv && \
	  $(PIP) $(PIP_TORCH) -r requirements-cpu.txt; \
	fi
	@touch $@

.venv/.t2-core: .venv/.t2-torch $(SOURCES)
	@echo 'installing what t2engine needs and building its extension ...'
	@$(PIP) 'setuptools>=77' wheel 'pybind11>=2.13' 'cmake>=3.22' ninja
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) --no-build-isolation -e .
	@touch $@

.venv/.t2-dev: .venv/.t2-core
	@echo 'installing what the tests need ...'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) --no-build-isolation -e '.[dev]'
	@touch $@

run: .venv/.t2-core
	@$(BIN)/t2 demo

test: build
	T2_REQUIRE=torch,cpp,triton $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' | xargs $(BIN)/clang-format --dry-run --Werror

bench: build
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-group-by=group

# PEERS is a Python with the peers of benchmarks/peers/README.md.
bench-peers: build
	$(BIN)/python -m benchmarks.peers.run --python $(PEERS) $(PEERS_OPTIONS)

golden: build
	$(BIN)/python -m tests.golden

clean:
	rm -rf build dist *.egg-info t2engine/_C*.so .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
