# Every target makes the environment it needs, of the newest Python that runs here;
# PYTHON=python3.12 chooses another.
PYTHON ?= $(shell .ci/pythons | head -n 1)
VENV ?= .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.installed
ORACLES := $(VENV)/.oracles
# jax.Array reductions spread over threads of their own: two workers fill two cores.
TEST_WORKERS ?= 2
# A file of tests stays in one worker: what it builds once is built once.
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: quickstart test test-all test-pythons check format docs clean

quickstart: $(ENVIRONMENT)  ## train on the digits with Adversarial AutoAugment
	$(BIN)/aaa-jax train --config=digits --workdir=runs/quickstart

test: $(ENVIRONMENT)  ## the fast suite
	$(PYTEST)

test-all: $(ORACLES)  ## the fast and the slow suite, the slow one against PyTorch
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 \
	  $(PYTEST) -m "slow or not slow"

test-pythons:  ## the fast suite on every Python from 3.11 on that is found
	@set -e; for python in $$(.ci/pythons); do \
	  version=$$($$python -c 'import sys; print(*sys.version_info[:2], sep=".")'); \
	  echo "== Python $$version: $$python"; \
	  $(MAKE) test PYTHON=$$python VENV=.venv-$$version; \
	done

check: $(ENVIRONMENT)  ## format, lint, types, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: $(ENVIRONMENT)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(ENVIRONMENT)  ## the pages that are made by scripts
	$(BIN)/python docs/write_api.py
	$(BIN)/python docs/images/draw_method.py > docs/images/method.svg

clean:
	rm -rf $(VENV) .venv-* runs .pytest_cache .mypy_cache .ruff_cache

$(ENVIRONMENT): requirements.txt requirements-dev.txt pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer, with venv, is needed: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	# Twice quiet: setuptools warns of every editable installation.
	$(BIN)/python -m pip install -qq -r requirements-dev.txt --editable .
	touch $@

$(ORACLES): $(ENVIRONMENT) requirements-oracles.txt
	$(BIN)/python -m pip install --quiet -r requirements-oracles.txt
	touch $@
