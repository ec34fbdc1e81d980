# Every target sets up what it needs: a machine with Python >= 3.11, make and git is enough.
PYTHON ?= python3
REPEATS ?= 3
KILLS ?= 100
MUTANTS ?= 10000
PAIRS ?= 20
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
INSTALLED := $(VENV)/.installed
PACKAGES := search_spaces trainables analysis orchestrator

.DEFAULT_GOAL := help
.PHONY: help install browser sshd demo check test soak cluster faults fuzz bench format lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED)  ## virtual environment with every locked dependency and .venv/bin/thaw

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(INSTALLED): pyproject.toml requirements.lock | $(UV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $@

demo: install  ## the whole chain on handwritten digits, in about two minutes
	$(BIN)/thaw demo

# Without one, the tests of pages say that they are skipped.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	{ apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 \
	  || echo "no browser: install Chromium or Chrome to test the pages"

check: install  ## ruff, formatting, strict types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install browser  ## the test suite, under 12 minutes on two cores
	$(BIN)/pytest -m "not soak and not cluster" -n 3 --dist loadfile --no-loadscope-reorder

soak: install  ## slow tests of faults and scale, under 35 minutes
	$(BIN)/pytest -m soak -n 2 --dist loadfile --no-loadscope-reorder

# The hosts need an sshd, which is never started outside of them.
sshd:
	@test -x /usr/sbin/sshd && command -v rsync >/dev/null \
	  || { apt-get -qq update && apt-get -qq install -y --no-install-recommends openssh-server rsync; } >/dev/null 2>&1 \
	  || echo "no sshd: install openssh-server and rsync to test clusters"

cluster: install sshd  ## a cluster of three hosts (Linux, root), launched, cut off, lost, under 15 minutes
	$(BIN)/pytest -m cluster

faults: install  ## hunt for faults, an hour: 100 kills, 20 pairs of commands, clocks; SEED=, KILLS=, PAIRS=
	$(BIN)/python tests/faults/hunt.py $(if $(SEED),--seed $(SEED)) --kills $(KILLS) --pairs $(PAIRS)

fuzz: install  ## damaged files for every parser, half an hour; SEED=, MUTANTS=
	$(BIN)/python tests/faults/fuzz.py $(if $(SEED),--seed $(SEED)) --mutants $(MUTANTS)

bench: install  ## what a sweep costs, against named peers: hours, on a quiet machine
	$(BIN)/python benchmarks/report.py --repeats $(REPEATS)

format: install  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV)  ## resolve the dependencies anew into requirements.lock
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --all-extras \
	  --group dev --no-emit-index-url --no-header --output-file requirements.lock pyproject.toml
	cd tests/mlflow-server && ../../$(UV) pip compile --quiet --upgrade --universal --generate-hashes \
	  --python-version 3.11 --no-emit-index-url --no-header --output-file requirements.lock requirements.in

clean:  ## remove the virtual environment and the tools' caches
	rm -rf $(VENV) .venv-mlflow .venv-mlflow.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
