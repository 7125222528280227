# Every target sets up what it needs; plain `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv
RUN := $(VENV)/bin

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "modbot needs Python 3.11 or newer: PYTHON=/path/to/python3 make …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.13,<0.14"

$(VENV)/.synced: $(UV) pyproject.toml uv.lock
	@$(UV) sync --quiet --frozen --inexact --all-extras --python $(RUN)/python
	@touch $@

.PHONY: setup
setup: $(VENV)/.synced ## create .venv with everything in it

.PHONY: dev
dev: setup ## start the whole system against a simulated Discord (ARGS="--fresh")
	@$(RUN)/modbot dev $(ARGS)

.PHONY: demo
demo: setup ## play a scripted day, kill a pod, compare expected with found
	@$(RUN)/modbot demo $(ARGS)

.PHONY: test
test: setup ## all tests but the longest, two at a time (ARGS="-k word")
	@scripts/install-test-tools
	@$(RUN)/pytest -n 2 --dist worksteal $(ARGS)

.PHONY: test-all
test-all: setup ## all tests, the longest as well
	@scripts/install-test-tools
	@$(RUN)/pytest -n 2 --dist worksteal -m "long or not long" $(ARGS)

.PHONY: check
check: setup ## format, lint, types, import contracts
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports

.PHONY: format
format: setup ## rewrite the code in the house format
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

.PHONY: bench
bench: setup ## measure speeds and sizes, write build/bench.json
	@$(RUN)/python -m bench $(ARGS)

.PHONY: chaos
chaos: setup ## break the whole system by chance (ARGS="--runs 5 --faults F1,F4")
	@PYTHONPATH=tests:tests/scenario $(RUN)/python -m chaos $(ARGS)

.PHONY: model
model: setup ## check the models of ownership (ARGS="--deep")
	@scripts/install-test-tools
	@$(RUN)/python scripts/check_model.py $(ARGS)

.PHONY: clean
clean: ## forget the virtual environment and the state of `make dev`
	@rm -rf $(VENV) .modbot build
