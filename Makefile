# Each target makes the environment that it needs in .venv; nothing but Python 3.11 or newer has to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ONE_THREAD := OPENBLAS_NUM_THREADS=1

.PHONY: demo test test-kernels test-kernel-widths test-cuda-sim cuda-extra mutation test-pytorch lint student notebooks course docs \
	test-docs results zoo gate quantize floor compress interactive reproduce leaderboard bench latency ptx cuda clean

demo: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/minidistill demo

test: $(VENV)/test.installed lint
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not compiles and not course and not docs and not ptx"
	@if [ -f $(VENV)/cuda.installed ]; then $(MAKE) --no-print-directory test-cuda-sim; fi

# The tests of the compiled kernels, which take minutes to compile every kernel for both dtypes.
test-kernels: $(VENV)/test.installed
	$(BIN)/python -m pytest -m compiles

# The tests whose code depends on the vector width, at each width below the host's: numba compiles for a processor with
# AVX2 if the host has AVX-512, then for one with SSE2 alone.
REGISTER_BYTES = $(BIN)/python -c 'from minidistill.kernels.cpu.simd import REGISTER_BYTES; print(REGISTER_BYTES)'
AT_ONE_WIDTH = $(BIN)/python -m pytest -m "compiles and not one_width" tests/kernels tests/losses/test_invariants.py

test-kernel-widths: $(VENV)/test.installed
	host=$$($(REGISTER_BYTES)) && \
	if [ $$host -gt 32 ]; then NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=+avx2,+fma $(AT_ONE_WIDTH); fi && \
	if [ $$host -gt 16 ]; then NUMBA_CPU_NAME=generic $(AT_ONE_WIDTH); fi

# The kernels of the card, where there need be none: in the simulator, and as far as the compiler. Once the extra is there,
# which this installs, `make test` does it too.
test-cuda-sim: $(VENV)/cuda.installed
	NUMBA_ENABLE_CUDASIM=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/kernels/cuda --ignore tests/kernels/cuda/test_ptx.py
	$(BIN)/python -m pytest tests/kernels/cuda/test_ptx.py

cuda-extra: $(VENV)/cuda.installed

lint: $(VENV)/test.installed
	$(BIN)/ruff check --no-cache
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive minidistill --severity-level medium

# Single mistakes in the source, each of which a test should catch; takes an hour.
mutation: $(VENV)/test.installed
	$(BIN)/python tests/mutation

# The tests that compare with PyTorch; `make test` runs them too once it is there.
test-pytorch: $(VENV)/pytorch.installed
	$(ONE_THREAD) $(BIN)/python -m pytest tests/pytorch

# The notebooks to work in, without answers; what is there already is kept.
student: $(VENV)/student.installed
	$(BIN)/python notebooks/build.py --student student

# Runs all notebooks and writes them with their plots.
notebooks: $(VENV)/course.installed
	$(ONE_THREAD) $(BIN)/python notebooks/build.py

# That all notebooks run with their answers, and without them fail at their checks alone.
course: $(VENV)/course.installed
	$(ONE_THREAD) $(BIN)/python -m pytest tests/promises/test_notebooks.py

# The site, to be opened at build/docs/index.html, which needs no network. A warning is an error.
docs: $(VENV)/docs.installed
	rm -rf build/docs
	$(BIN)/python -m sphinx -b html -d build/doctrees -E -n -W --keep-going -q docs build/docs

# That no link of the built site leads nowhere and no page loads anything from elsewhere.
test-docs: docs $(VENV)/test.installed
	$(BIN)/python -m pytest tests/promises/test_docs.py

# Measures anew what the README quotes, and writes it there.
results: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/minidistill demo --json --figure docs/evidence/images/demo.png > docs/evidence/results/demo.json
	$(BIN)/python tools/quote_results.py

# Measures anew what the mistakes of the bug zoo do, and quotes it.
zoo: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/zoo.py
	$(BIN)/python tools/quote_results.py

# Trains anew the networks whose logits the interactive page shows.
interactive: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/interactive.py

# Measures anew how the quality gate keeps its word, and quotes it.
gate: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/gate.py
	$(BIN)/python tools/quote_results.py

# Measures anew what whole numbers cost and save, in some eight minutes, and quotes it.
quantize: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/quantize.py
	$(BIN)/python tools/quote_results.py

# Measures which floor under a teacher's probabilities is best, in some minutes, and quotes it.
floor: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/floor.py
	$(BIN)/python tools/quote_results.py

# Compiles the kernels of the card anew, in some minutes, and quotes what they need.
ptx: $(VENV)/cuda.installed
	$(BIN)/python tools/measure/cuda.py
	$(BIN)/python tools/quote_results.py

# On a machine with a card: the same tests there, compute-sanitizer, then the benchmark, and quotes it.
cuda: $(VENV)/card.installed
	$(BIN)/python tools/measure/cuda_bench.py
	$(BIN)/python tools/quote_results.py

# What rounding, pruning and distilling keep and cost on three data sets, in some ten minutes, and quotes it.
compress: $(VENV)/demo.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/compress.py
	$(BIN)/python tools/quote_results.py

bench: $(VENV)/bench.installed
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/minidistill bench --json --figure docs/evidence/images/bench.png > docs/evidence/results/bench.json
	$(BIN)/python tools/quote_results.py

# Times the exported C file beside calls from Python, and quotes it; needs gcc.
latency: $(VENV)/bench.installed
	$(ONE_THREAD) $(BIN)/python tools/measure/export.py
	$(BIN)/python tools/quote_results.py

# Does the papers' experiments again, in about an hour, and quotes what came out. MNIST and Fashion-MNIST are downloaded
# where they are not there: see minidistill/data/mnist.py.
reproduce: $(VENV)/demo.installed
	for name in hinton-mnist few-labels capacity fidelity assistant born-again mutual deploy; do \
		$(ONE_THREAD) $(BIN)/minidistill reproduce $$name --json --figure docs/evidence/images/$$name.png \
			> docs/evidence/results/$$name.json || exit 1; \
	done
	$(BIN)/python tools/quote_results.py

# Ranks every method of the library, in about twenty minutes, and quotes what came out. The images are those of `reproduce`.
leaderboard: $(VENV)/demo.installed
	for name in digits mnist fashion-mnist; do \
		$(ONE_THREAD) $(BIN)/minidistill leaderboard $$name --json --figure docs/evidence/images/leaderboard-$$name.png \
			> docs/evidence/results/leaderboard-$$name.json || exit 1; \
	done
	$(BIN)/python tools/quote_results.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "minidistill needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/demo.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[plot]'
	$(BIN)/minidistill info --compile
	touch $@

$(VENV)/test.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[plot]' --group test
	touch $@

$(VENV)/student.installed: pyproject.toml | $(VENV)/demo.installed
	$(BIN)/python -m pip install --quiet --editable '.[course]'
	touch $@

$(VENV)/course.installed: pyproject.toml | $(VENV)/test.installed
	$(BIN)/python -m pip install --quiet --group course
	touch $@

$(VENV)/docs.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable . --group docs
	touch $@

$(VENV)/bench.installed: pyproject.toml | $(VENV)/demo.installed
	$(BIN)/python -m pip install --quiet --editable '.[plot,bench]'
	touch $@

$(VENV)/cuda.installed: pyproject.toml | $(VENV)/test.installed
	$(BIN)/python -m pip install --quiet --editable '.[cuda]'
	touch $@

$(VENV)/card.installed: pyproject.toml | $(VENV)/cuda.installed
	$(BIN)/python -m pip install --quiet --group card
	touch $@

$(VENV)/pytorch.installed: pyproject.toml | $(VENV)/test.installed
	$(BIN)/python -m pip install --quiet --group pytorch
	touch $@
