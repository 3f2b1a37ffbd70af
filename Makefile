# Each target sets up its tools in $(VENV). It needs python3 with its venv module, a C++20 compiler and make. pip
# installs CMake and Ninja.

PYTHON3 ?= python3
VENV ?= .venv
BUILD ?= build/python

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
SOURCES := CMakeLists.txt pyproject.toml README.md LICENSE \
           $(shell find cpp python -type f -not -path '*/__pycache__/*')
CPP := $(shell find cpp tests bench -name '*.[ch]pp')

# Left out by `make quick`: these build the core once more, wait for seconds, or are scikit-learn's own tests.
SLOW := tests/sklearn_own tests/test_aarch64.py tests/test_allocations.py tests/test_emulated_avx512.py \
        tests/test_stop.py tests/test_team.py tests/test_threads.py tests/test_types.py
PYTEST := DENSEGRAD_BUILD=$(BUILD) $(BIN)/python -m pytest

.PHONY: help demo demo-cluster docs test quick check check-all tidy sanitized .sanitized thread-sanitized valgrind \
        windows macos flat free-threaded .free-threaded coverage .coverage fuzz wheel release golden \
        test-torch .test-torch test-mpi .test-mpi \
        test-dask .test-dask fault-runs .fault-runs format lint bench bench-peers .bench-peers bench-sparse \
        bench-unscaled bench-ranks .bench-ranks bench-clusters .bench-clusters bench-averages bench-quality \
        clean distclean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'ARGS="…" passes arguments on: make test ARGS="-k fork -x"'

demo: $(VENV)/.installed $(VENV)/.group-examples ## train a classifier on Fashion-MNIST and print its accuracy
	$(BIN)/python examples/fashion_mnist.py

demo-cluster: ## train on a cluster of processes, kill one of them, and compare the weights with one process
	$(MAKE) VENV=$(VENV)-dask BUILD=$(BUILD)-dask .demo-cluster
.demo-cluster: $(VENV)/.installed $(VENV)/.group-dask
	$(BIN)/python examples/cluster.py

# It needs no network. One thread for the BLAS of scikit-learn, which an example times on a machine that may be busy.
docs: $(VENV)/.installed $(VENV)/.group-docs ## the documentation site, in build/docs; warnings are errors
	rm -rf docs/api/generated
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -d build/doctrees docs build/docs $(ARGS)
	$(BIN)/python tools/check_links.py build/docs

# Tests read the objects of this build and link a program with them.
test: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-examples ## all tests except those against PyTorch and on Dask
	$(PYTEST) $(ARGS)

quick: lint $(VENV)/.installed $(VENV)/.group-test ## lint and the quick tests, in less than two minutes
	$(PYTEST) -q $(addprefix --ignore=,$(SLOW)) $(ARGS)

check: lint tidy test ## lint, clang-tidy and all tests but those of check-all, in less than 15 minutes

check-all: check sanitized thread-sanitized valgrind coverage test-torch test-dask test-mpi docs flat fuzz release ## sanitizers, valgrind, coverage, peers, documentation, memory, fuzzing and wheels: some hours

wheel: ## a wheel for each Python 3.11 to 3.14 here, repaired and tested in a clean environment; in dist/
	$(PYTHON3) tools/release.py wheels $(ARGS)

release: ## as wheel, with the source distribution, checks and the list of contents; uploads nothing
	$(PYTHON3) tools/release.py all $(ARGS)

# The interpreter is not built with the sanitizers, so their libraries must be there before it, and that of C++ for
# their view of exceptions. Left out: leaks of the interpreter itself, programs that tests build by themselves,
# the browser, and limits of memory and time, which are too low for the address sanitizer. A report ends the
# process at once, and pytest would keep what it has said: reports are files, $(BUILD)/report.<process>. Tests ask
# for more memory than there is.
SANITIZE := -O1 -g1 -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all
LIMITED := tests/test_files.py::test_out_of_memory_is_a_memory_error tests/test_fuzzing.py tests/test_stop.py \
           tests/test_peak_memory.py \
           tests/test_threads.py::test_ctrl_c_stops_a_fit_at_once \
           tests/test_team.py::test_a_team_is_smaller_where_the_system_gives_no_thread
UNSANITIZED := tests/test_aarch64.py tests/test_allocations.py tests/test_build.py tests/test_emulated_avx512.py \
               tests/test_types.py tests/display/test_walk_in_browser.py
library = $(shell $(or $(CXX),g++) -print-file-name=$(1))
sanitized: ## all tests under the address and undefined-behaviour sanitizers
	$(MAKE) VENV=$(VENV)-sanitized BUILD=$(BUILD)-sanitized SETTINGS='--config-settings=cmake.build-type=None \
	    --config-settings=cmake.define.CMAKE_CXX_FLAGS="$(SANITIZE)"' .sanitized
.sanitized: $(VENV)/.installed $(VENV)/.group-test
	rm -f $(BUILD)/report.*
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:log_path=$(CURDIR)/$(BUILD)/report \
	UBSAN_OPTIONS=print_stacktrace=1:log_path=$(CURDIR)/$(BUILD)/report \
	LD_PRELOAD="$(call library,libasan.so) $(call library,libstdc++.so)" \
	$(PYTEST) -q -p no:cacheprovider $(addprefix --ignore=,$(UNSANITIZED)) $(addprefix --deselect=,$(LIMITED)) \
	    $(ARGS)

# Its environment allows every module to run without the GIL, also those of pandas that do not say so.
FREE_THREADED ?= python3.14t
free-threaded: ## all tests with a free-threaded Python: FREE_THREADED=python3.14t
	$(MAKE) PYTHON3=$(FREE_THREADED) VENV=$(VENV)-free-threaded BUILD=$(BUILD)-free-threaded .free-threaded
.free-threaded: $(VENV)/.installed $(VENV)/.group-test-free-threaded
	PYTHON_GIL=0 $(BIN)/python -W error -c 'import sys, densegrad.tabular; assert not sys._is_gil_enabled()'
	PYTHON_GIL=0 $(PYTEST) -q $(ARGS)

# GCC's sanitizer understands std::thread and atomics, so all of the team; OpenMP, which only counts threads, is off.
thread-sanitized: $(VENV)/.group-build ## the team of threads and the core's calls under the thread sanitizer
	$(BIN)/cmake -S . -B build/thread-sanitized -DDENSEGRAD_TESTS=ON -DDENSEGRAD_OPENMP=OFF -DCMAKE_BUILD_TYPE=None \
	    -DCMAKE_CXX_FLAGS="-O1 -g1 -fsanitize=thread" >/dev/null
	$(BIN)/cmake --build build/thread-sanitized -j 2 --target test_team test_bits test_golden
	build/thread-sanitized/test_team 4 20000
	build/thread-sanitized/test_bits "" 3 >/dev/null
	build/thread-sanitized/test_golden "" 3 | diff tests/golden/core.txt -

# Valgrind knows no AVX-512: the core sees a processor without it. Interpreters give false alarms, even as they import
# NumPy, so only the core is looked at.
VALGRIND := valgrind --quiet --error-exitcode=1
valgrind: $(VENV)/.installed ## the core's trainings under valgrind's memcheck
	$(BIN)/cmake -S . -B $(BUILD) -DDENSEGRAD_TESTS=ON >/dev/null
	$(BIN)/cmake --build $(BUILD) --target test_golden --target test_bits
	$(VALGRIND) $(BUILD)/test_bits "" 2
	$(VALGRIND) $(BUILD)/test_golden "" 1 | diff tests/golden/core.txt -

# The set `generic` is left out: fma() of MinGW's library is often wrong in the last bit.
MINGW := x86_64-w64-mingw32-g++-posix
windows: $(VENV)/.group-build ## the core built by MinGW for Windows, and its bits under Wine
	$(BIN)/cmake -S . -B build/windows -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_SYSTEM_NAME=Windows \
	    -DCMAKE_SYSTEM_PROCESSOR=x86_64 -DCMAKE_CXX_COMPILER=$(MINGW) -DCMAKE_EXE_LINKER_FLAGS=-static \
	    -DDENSEGRAD_TESTS=ON -DDENSEGRAD_OPENMP=OFF -DDENSEGRAD_WERROR=ON >/dev/null
	$(BIN)/cmake --build build/windows --target test_bits test_golden test_stop test_team
	WINEDEBUG=-all wine build/windows/test_golden.exe "" 2 | tr -d '\r' | diff tests/golden/core.txt -
	WINEDEBUG=-all wine build/windows/test_golden.exe avx2 3 | tr -d '\r' | diff tests/golden/core.txt -
	WINEDEBUG=-all wine build/windows/test_stop.exe 2
	WINEDEBUG=-all wine build/windows/test_team.exe 4 20000

# Zig is a Clang with the headers of macOS. Nothing is linked or run.
macos: $(VENV)/.group-macos ## the core compiled for macOS, for both of its processors
	for target in aarch64-macos x86_64-macos; do \
	    CXX="$(CURDIR)/$(BIN)/python -m ziglang c++ -target $$target" $(BIN)/cmake -S . -B build/$$target -G Ninja \
	        -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_SYSTEM_NAME=Darwin \
	        -DCMAKE_SYSTEM_PROCESSOR=$${target%-macos} -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY \
	        -DDENSEGRAD_OPENMP=OFF -DDENSEGRAD_WERROR=ON >/dev/null && \
	    $(BIN)/cmake --build build/$$target --target densegrad_core || exit; \
	done

flat: $(VENV)/.installed ## memory stays flat over 2,000 fits and 100,000 predictions
	$(BIN)/python tests/flat_memory.py $(ARGS)

# Coverage of C++ is GCC's, of the same tests. Programs that tests start in other processes count, too.
coverage: ## lines of Python and of C++ that the tests run, in build/coverage; fails under 95 % of Python's
	$(MAKE) VENV=$(VENV)-coverage BUILD=$(BUILD)-coverage SETTINGS='--config-settings=cmake.build-type=None \
	    --config-settings=cmake.define.CMAKE_CXX_FLAGS="-O1 --coverage"' .coverage
.coverage: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-coverage
	rm -rf build/coverage; mkdir -p build/coverage
	DENSEGRAD_BUILD=$(BUILD) $(BIN)/coverage run -m pytest -q -p no:cacheprovider \
	    $(addprefix --ignore=,$(UNSANITIZED)) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/gcovr --root . --filter cpp/ --exclude-throw-branches --gcov-ignore-parse-errors=all \
	    --txt build/coverage/cpp.txt $(BUILD)
	tail -n 4 build/coverage/cpp.txt
	$(BIN)/coverage html --quiet -d build/coverage/python
	$(BIN)/coverage report --skip-covered --fail-under=95

FUZZED ?= 500000
fuzz: $(VENV)/.installed $(VENV)/.group-test ## damaged files and odd arguments, FUZZED of each, from seed FIRST on
	$(BIN)/python tests/fuzzing.py files $(FUZZED) $(or $(FIRST),0)
	$(BIN)/python tests/fuzzing.py calls $(FUZZED) $(or $(FIRST),0)

golden: $(VENV)/.installed ## write tests/golden anew, for a change that is meant to move trained weights
	$(BIN)/cmake -S . -B $(BUILD) -DDENSEGRAD_TESTS=ON >/dev/null
	$(BIN)/cmake --build $(BUILD) --target test_golden
	$(BUILD)/test_golden >tests/golden/core.txt
	$(BIN)/python tests/golden_training.py >tests/golden/training.txt

# Targets that need PyTorch, JAX or Dask have environments of their own, so that the others are tested without.
test-torch: ## compare derivatives and optimizers with PyTorch and JAX
	$(MAKE) VENV=$(VENV)-torch BUILD=$(BUILD)-torch .test-torch
.test-torch: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-torch
	$(BIN)/python -m pytest tests/peers $(ARGS)

test-dask: ## tests on Dask, with clusters of processes on this machine
	$(MAKE) VENV=$(VENV)-dask BUILD=$(BUILD)-dask .test-dask
.test-dask: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-dask
	$(BIN)/python -m pytest tests/on_dask $(ARGS)

RUNS ?= 200
fault-runs: ## RUNS trainings on Dask with workers killed, frozen and joining at random moments; ARGS=--one-cluster: a soak
	$(MAKE) VENV=$(VENV)-dask BUILD=$(BUILD)-dask .fault-runs
.fault-runs: $(VENV)/.installed $(VENV)/.group-dask
	$(BIN)/python tests/on_dask/fault_runs.py $(RUNS) $(ARGS)

# MPI has its own environment, too: where its libraries are, other tests would find them.
test-mpi: ## train on several ranks of MPI
	$(MAKE) VENV=$(VENV)-mpi BUILD=$(BUILD)-mpi .test-mpi
.test-mpi: $(VENV)/.installed $(VENV)/.group-test $(VENV)/.group-mpi
	$(BIN)/python -m pytest tests/ranks/test_mpi.py $(ARGS)

format: $(VENV)/.group-lint ## rewrite Python and C++ in the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

# stubtest compares _core.pyi with the compiled module.
lint: $(VENV)/.installed $(VENV)/.group-lint $(VENV)/.group-test ## checks of style, types and spelling, and of the workflows; change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest --ignore-missing-stub densegrad._core
	$(PYTEST) -q tests/test_types.py
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint python/densegrad/*.pyx python/densegrad/*.pxd
	$(BIN)/codespell .ci .github bench cpp docs examples python tests tools $(wildcard *.md *.toml) CMakeLists.txt Makefile
	$(BIN)/shellcheck .ci/run
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

tidy: $(VENV)/.group-lint $(VENV)/.group-build ## clang-tidy on the core; .clang-tidy says what it looks for
	$(BIN)/cmake -S . -B build/tidy -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DDENSEGRAD_OPENMP=OFF >/dev/null
	$(BIN)/run-clang-tidy.py -clang-tidy-binary $(BIN)/clang-tidy -quiet -p build/tidy -j 2 '/cpp/(src|kernels)/'

bench: $(VENV)/.installed $(VENV)/.group-bench ## time each operation against NumPy by hand
	$(BIN)/python -m pytest bench $(ARGS)

bench-peers: ## time training and prediction against other libraries, 15 minutes; writes docs/benchmarks.md and the CPU's page
	$(MAKE) VENV=$(VENV)-peers BUILD=$(BUILD)-peers .bench-peers
.bench-peers: $(VENV)/.installed $(VENV)/.group-peers
	$(BIN)/python bench/peers.py $(ARGS)

bench-sparse: $(VENV)/.installed $(VENV)/.group-test ## time rows with many zeros against scikit-learn
	$(BIN)/python bench/sparse_rows.py $(ARGS)

bench-unscaled: $(VENV)/.installed ## time columns that are not scaled, by activation: at most twice the scaled ones
	$(BIN)/python bench/unscaled.py

bench-ranks: ## ranks of MPI: what they gain, what shards and exchanges cost; needs a machine that does nothing else
	$(MAKE) VENV=$(VENV)-mpi BUILD=$(BUILD)-mpi .bench-ranks
.bench-ranks: $(VENV)/.installed $(VENV)/.group-mpi
	$(BIN)/python bench/scaling.py $(ARGS)
	$(BIN)/mpiexec -n 2 $(BIN)/python bench/exchange.py

bench-clusters: ## workers of Dask: a model with measured inputs, and its figure in the docs
	$(MAKE) VENV=$(VENV)-dask BUILD=$(BUILD)-dask .bench-clusters
.bench-clusters: $(VENV)/.installed $(VENV)/.group-dask $(VENV)/.group-examples
	$(BIN)/python bench/clusters.py

bench-averages: $(VENV)/.installed ## what averages over shards learn on Fashion-MNIST, against synchronous updates
	$(BIN)/python bench/averages.py

bench-quality: $(VENV)/.installed $(VENV)/.group-test ## quality of the defaults on tables: DATA=folder
	$(BIN)/python bench/quality.py $(DATA) $(ARGS)

clean: ## remove what was built, but keep the environments
	rm -rf docs/gallery docs/api/generated docs/sg_execution_times.rst examples/demo-output
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks $(VENV)/.installed

distclean: clean ## also remove the environments
	rm -rf $(VENV) $(VENV)-*

# pip learnt to install dependency groups in 25.1.
$(BIN)/python:
	$(PYTHON3) -m venv $(VENV)

$(VENV)/.pip: | $(BIN)/python
	$(PIP) 'pip>=25.1'
	touch $@

$(VENV)/.group-%: pyproject.toml | $(VENV)/.pip
	$(PIP) --group $*
	touch $@

# The install is not editable, so the tests run the package as a user gets it. The build directory is kept, so
# only changed files are compiled again.
$(VENV)/.installed: $(SOURCES) $(VENV)/.group-build
	$(PIP) --no-build-isolation --config-settings=build-dir=$(BUILD) $(SETTINGS) .
	touch $@
