# Each target sets up what it needs in $(VENV): python3 with its venv module, a C++20 compiler and make are
# enough to start with. CMake and Ninja come from the Python package index.

PYTHON3 ?= python3
VENV ?= .venv
BUILD ?= build/python

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
SOURCES := CMakeLists.txt pyproject.toml README.md LICENSE \
           $(shell find cpp python -type f -not -path '*/__pycache__/*')
CPP := $(shell find cpp tests bench -name '*.[ch]pp')

.PHONY: demo test test-torch .test-torch lint bench bench-peers .bench-peers clean distclean

demo: $(VENV)/.installed $(VENV)/.group-examples
	$(BIN)/python examples/fashion_mnist.py

# Tests look into the objects of this build, and link a program of their own with them.
test: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-examples
	DENSEGRAD_BUILD=$(BUILD) $(BIN)/python -m pytest $(ARGS)

# What needs large libraries of others has an environment of its own.
test-torch:
	$(MAKE) VENV=$(VENV)-torch BUILD=$(BUILD)-torch .test-torch
.test-torch: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-torch
	$(BIN)/python -m pytest tests/peers $(ARGS)

# stubtest compares _core.pyi with the compiled module.
lint: $(VENV)/.installed $(VENV)/.group-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest --ignore-missing-stub densegrad._core
	$(BIN)/clang-format --dry-run -Werror $(CPP)

bench: $(VENV)/.installed $(VENV)/.group-bench
	$(BIN)/python -m pytest bench $(ARGS)

bench-peers:
	$(MAKE) VENV=$(VENV)-peers BUILD=$(BUILD)-peers .bench-peers
.bench-peers: $(VENV)/.installed $(VENV)/.group-peers
	$(BIN)/python bench/peers.py $(ARGS)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks $(VENV)/.installed

distclean: clean
	rm -rf $(VENV) $(VENV)-torch $(VENV)-peers

# pip learnt to install dependency groups in 25.1.
$(BIN)/python:
	$(PYTHON3) -m venv $(VENV)

$(VENV)/.pip: | $(BIN)/python
	$(PIP) 'pip>=25.1'
	touch $@

$(VENV)/.group-%: pyproject.toml | $(VENV)/.pip
	$(PIP) --group $*
	touch $@

# Not an editable install: what is tested is what a user gets. The build directory is kept, so only what changed
# is compiled again.
$(VENV)/.installed: $(SOURCES) $(VENV)/.group-build
	$(PIP) --no-build-isolation --config-settings=build-dir=$(BUILD) .
	touch $@
