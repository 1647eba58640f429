# Every target makes the environment it needs. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.installed
ORACLES := $(VENV)/.oracles
# jax.Array reductions spread over threads of their own: two workers fill two cores.
TEST_WORKERS ?= 2

.PHONY: quickstart test test-all check format docs clean

quickstart: $(ENVIRONMENT)  ## train on the digits with Adversarial AutoAugment
	$(BIN)/aaa-jax train --config=digits --workdir=runs/quickstart

test: $(ENVIRONMENT)  ## the fast suite
	$(BIN)/python -m pytest -n $(TEST_WORKERS)

test-all: $(ORACLES)  ## the fast and the slow suite, the slow one against PyTorch
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 \
	  $(BIN)/python -m pytest -n $(TEST_WORKERS) -m "slow or not slow"

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
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache

$(ENVIRONMENT): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt --editable .
	touch $@

$(ORACLES): $(ENVIRONMENT) requirements-oracles.txt
	$(BIN)/python -m pip install --quiet -r requirements-oracles.txt
	touch $@
