# The tools this needs are make and Python 3.11 or later.
#
#   make demo PYTHON=python3.12 TENSORFLOW=tensorflow

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

# The same code without the GPU's libraries, where there is such a package.
ifeq ($(shell uname -sm),Linux x86_64)
TENSORFLOW ?= tensorflow-cpu
else
TENSORFLOW ?= tensorflow
endif

.DEFAULT_GOAL := help
.PHONY: help demo test check clean

help:  ## List these targets
	@sed -n 's/^\([a-z]*\):.*##/\1#/p' Makefile | awk -F'#' '{ printf "make %-7s%s\n", $$1, $$2 }'

demo: $(STAMP)  ## Train on real digits, export, compare; about two minutes
	KERAS_BACKEND=tensorflow $(BIN)/python examples/finetune.py

test: $(STAMP)  ## Run the tests on TensorFlow
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest

check: $(STAMP)  ## Lint, formatting, spelling, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:  ## Remove the environment and files of tools
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and $(PYTHON) is not." \
	    "Name another: make demo PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV); this takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[$(TENSORFLOW),test]'
	@touch $@
