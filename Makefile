# Verbs of the project. Nothing but this file needs make; each recipe is a command one can type.
#
#   make install   .venv with the locked versions (uv where present, else venv and pip)
#   make run       the quickstart study through the Prefect flow: table, store, report
#   make test      what continuous integration runs: interpreted and compiled suites
#   make check     format, lint, import floors, types, then make test
#   make slow      full-size validation; MARKET_DATA=DIR, CASES=DIR name outside files
#   make e2e       real scheduler, real workers, real browser, the quickstart as a new user has it; MARKET_DATA=DIR
#   make bench     timings, written to results/benchmarks/
#   make golden    rewrite tests/golden and print by how much each variable moved
#   make docs      rewrite GLOSSARY.md
#   make lock      resolve requirements.lock again; pinned versions stay unless pyproject.toml forbids them

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest -q
# Tests that compose rules at random run interpreted: compiling takes half a minute a combination.
# `make -j2 -O test` runs the two suites beside each other; `pytest` alone runs both too.
FAST := not slow and not e2e

ifneq ($(shell command -v uv 2>/dev/null),)
  NEW_VENV = uv venv --quiet --python $(PYTHON) $(VENV)
  INSTALL = uv pip install --quiet --python $(BIN)/python
else
  NEW_VENV = $(PYTHON) -m venv $(VENV)
  INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: install notebooks run test test-interpreted test-compiled check slow e2e bench golden docs lock

install: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(NEW_VENV)
	$(INSTALL) --no-deps --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

run: install
	$(BIN)/python -m flows.sweep_flow configs/studies/quickstart.yaml

test: test-interpreted test-compiled

test-interpreted: install
	NUMBA_DISABLE_JIT=1 $(PYTEST) -m "interpreted and $(FAST)" tests

test-compiled: install
	$(PYTEST) -m "not interpreted and $(FAST)" --ignore=tests/test_interpreted.py tests

check: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(MAKE) test

slow: install
	$(PYTEST) -m slow $(if $(CASES),--cases $(CASES)) $(if $(MARKET_DATA),--market-data $(MARKET_DATA))

e2e: install
	$(PYTEST) -m e2e $(if $(MARKET_DATA),--market-data $(MARKET_DATA)) tests/e2e

bench: install
	$(BIN)/python -m tests.benchmarks

notebooks: install
	$(BIN)/python -m docs

golden: install
	$(BIN)/python -m tests.golden

docs: install
	$(BIN)/python -m stress.glossary > GLOSSARY.md

lock:
	uv pip compile pyproject.toml --group dev --universal --generate-hashes --quiet -o requirements.lock
