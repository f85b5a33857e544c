# Each target works in a fresh clone that has python3 (3.11 or newer) and make: it makes .venv, installs, and runs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(BIN)/python
ARGS   ?=

# Tests wait about as long as they compute, so four processes keep two cores busy. A file's tests stay together, and the
# order is that of tests/conftest.py: what takes longest comes first.
PYTEST := $(RUN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test lint format docs bench model chaos rates clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/^\([a-z]*\):.*## /\1|/' | awk -F'|' '{ printf "make %-7s %s\n", $$1, $$2 }'
	@echo 'ARGS="…" is passed on: make test ARGS="-k stageout"'

demo: $(VENV)/.dev ## real ROOT files, injected faults, recovery, and the proof that each event is there once
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && bookkeeper demo $(ARGS)

test: $(VENV)/.dev ## every test, and every code block of README.md and docs/
	$(PYTEST) $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy, import-linter
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## let ruff repair what it can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(VENV)/.docs ## the documentation as HTML, warnings are errors
	$(RUN) -m sphinx -W --keep-going -n -q -b html $(ARGS) docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/.dev ## speed as ratios against floors measured in the same run
	$(RUN) tests/bench/run.py $(ARGS)

model: $(VENV)/.dev ## the protocol's model, all scenarios
	$(RUN) tests/model/run.py $(ARGS)

chaos: $(VENV)/.dev ## 200 files, 8 workers, everything breaks: 20 seeds
	$(RUN) tests/fault/chaos.py --seeds 20 $(ARGS)

rates: $(VENV)/.dev ## 400 files, 8 nodes, the failure rates of a real experiment: waste against the unavoidable, 3 seeds
	$(RUN) tests/fault/rates.py --seeds 3 $(ARGS)

clean: ## remove what the other targets made
	rm -rf $(VENV) docs/_build dist build tests/bench/results .mypy_cache .ruff_cache .hypothesis .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 has no ensurepip without the package python3-venv, and its pip knows no dependency groups.
$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: bookkeeper needs Python 3.11 or newer; name one: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'make: this Python cannot make virtual environments; install it: apt-get install python3-venv' >&2; exit 1; }
	@echo 'make: installing into $(VENV), once'
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.dev: pyproject.toml | $(RUN)
	@$(RUN) -m pip install --quiet --upgrade 'pip>=25.1'
	@$(RUN) -m pip install --quiet --editable . --group dev
	@echo '$(CURDIR)' > $@

# A .venv that was copied along with the tree still belongs to the old place: make it anew.
MADE_IN := $(shell cat $(VENV)/.dev 2>/dev/null)
ifneq ($(MADE_IN),)
ifneq ($(MADE_IN),$(CURDIR))
.PHONY: $(RUN) $(VENV)/.dev
endif
endif

$(VENV)/.docs: $(VENV)/.dev
	@$(RUN) -m pip install --quiet --group docs
	@touch $@
