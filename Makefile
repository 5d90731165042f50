# Everything a newcomer needs: `make demo` to see it, `make test` to trust it, `make check` before a commit.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VLLM_VENV ?= .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
LABEL_STUDIO_VENV ?= .venv-label-studio
ARGILLA_VENV ?= .venv-argilla
DATA ?= ../shared/data

# One thread per process: two torch processes of two threads each are many times slower than one after the other.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: venv venv-vllm venv-label-studio venv-argilla venv-web demo test test-vllm test-label-studio test-argilla test-web check format serve bench bench-label-studio bench-mini bench-scoring reproduce train-mini sample wheel clean

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Winnow needs Python 3.11 or newer; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: venv
	$(BIN)/winnow demo

serve: venv
	$(BIN)/winnow serve

# Much of the suite waits for processes to start, to die and to be missed: two halves at once take little more than one.
test: venv
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-vllm: venv-vllm
	$(VLLM_BIN)/pytest tests/vllm

venv-vllm: $(VLLM_VENV)/.installed

# vLLM's CPU build, exactly as pinned and without a resolver, which would add torchvision, torchaudio and torchcodec for
# CUDA: nothing here needs them, and beside a torch for CPUs they break transformers.
$(VLLM_VENV)/.installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	grep -v '^vllm==' constraints-vllm.txt >$(VLLM_VENV)/requirements.txt
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-compile -r $(VLLM_VENV)/requirements.txt
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# Label Studio runs apart, because it pins older packages than Winnow; the tests run here and talk to it over HTTP.
test-label-studio: venv venv-label-studio
	LABEL_STUDIO=$(LABEL_STUDIO_VENV)/bin/label-studio $(BIN)/pytest --timeout=600 tests/label_studio

venv-label-studio: $(LABEL_STUDIO_VENV)/.installed

$(LABEL_STUDIO_VENV)/.installed: constraints-label-studio.txt
	$(PYTHON) -m venv $(LABEL_STUDIO_VENV)
	$(LABEL_STUDIO_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile -r constraints-label-studio.txt
	@touch $@

# Argilla's server needs Elasticsearch, so its own checks of a request are what the exports must pass.
test-argilla: venv venv-argilla
	ARGILLA_PYTHON=$(ARGILLA_VENV)/bin/python $(BIN)/pytest tests/argilla

venv-argilla: $(ARGILLA_VENV)/.installed

$(ARGILLA_VENV)/.installed: constraints-argilla.txt
	$(PYTHON) -m venv $(ARGILLA_VENV)
	$(ARGILLA_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile -r constraints-argilla.txt
	@touch $@

# The browser is the system's Chromium, or the one that WINNOW_TEST_CHROMIUM names.
test-web: venv-web
	$(BIN)/pytest tests/web

venv-web: $(VENV)/.installed-web

$(VENV)/.installed-web: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[web-test]'
	@touch $@

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: venv
	$(BIN)/python -m benchmarks.run

bench-label-studio: venv venv-label-studio
	LABEL_STUDIO=$(LABEL_STUDIO_VENV)/bin/label-studio $(BIN)/python -m benchmarks.label_studio

# Each contestant takes all cores by itself; the one thread of the other targets is not meant for it.
bench-scoring: venv
	$(BIN)/python -m benchmarks.scoring --data $(DATA) $(ARGS)

bench-mini: venv
	$(BIN)/python -m benchmarks.bench_mini --data $(DATA)

# Hours of one core from nothing; what was computed stays under build/reproduce. ARGS='--only s2l_study', say.
reproduce: venv
	$(BIN)/python -m benchmarks.reproduce --data $(DATA) $(ARGS)

# The allocator settings about double the speed of a training process that is alone on its core.
train-mini: venv
	MKL_NUM_THREADS=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456 \
		$(BIN)/python -m recipes.mini.train --data $(DATA) --work build/mini --install winnow/models/mini

sample: venv
	$(BIN)/python -m recipes.sample.generate winnow/sample/sample.jsonl

wheel: venv
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(LABEL_STUDIO_VENV) $(ARGILLA_VENV) build dist winnow-data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
