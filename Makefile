# Each command sets up what it needs. Another Python: make PYTHON=python3.13 demo
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup setup-dev demo repro try test test-long test-numeric fuzz lint check-lock lock bench bench-size bench-whole

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt requirements-cluster.txt requirements-export.txt requirements-tune.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-cluster.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-export.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tune.txt
	touch $@

setup: $(VENV)/.ready  ## The environment that runs the pipeline, in .venv

setup-dev: $(VENV)/.ready-dev  ## The same with tests, lint and types

demo: setup  ## All stages on drawn pictures, in a copy of the checkout: minutes, no data downloaded
	$(BIN)/python -m classifier demo

repro: setup  ## Check params.yaml, then dvc repro, a line a stage
	$(BIN)/python -m classifier repro

try: setup  ## Train on your own pictures: make try DATA=folder
	@test -n "$(DATA)" || { echo "which pictures? make try DATA=folder" >&2; exit 2; }
	$(BIN)/python -m classifier train "$(DATA)"

test: setup-dev  ## The tests: seven minutes on two cores with AMX
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20

test-long: setup-dev  ## What takes minutes: long fuzzing, simulations, a larger run twice
	$(BIN)/python -m pytest -m long --durations=0

test-numeric: setup-dev  ## The numeric tests, computed as each lesser class of CPU would
	.ci/numeric

fuzz: setup-dev  ## The decoder and the archive reader on mutated files, a minute each
	$(BIN)/python -m tests.fuzz_images --seconds 60
	$(BIN)/python -m tests.fuzz_archives --seconds 60

bench: setup  ## This project against the tutorial way on this machine: within 40 minutes
	$(BIN)/python -m benchmarks

bench-size: setup  ## Memory and time at 5,000 to 100,000 generated images: 21 GB of disk
	$(BIN)/python -m benchmarks.size

bench-whole: setup  ## dvc repro run whole in a fresh clone: hours on a slow machine
	$(BIN)/python -m benchmarks --whole

lint: setup-dev  ## Lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-lock: setup  ## Whether dvc.lock is what the code and params.yaml make
	.ci/check-lock

lock:  ## Resolve requirements*.in anew
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.txt requirements-dev.in -o requirements-dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.txt requirements-gpu.in -o requirements-gpu.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.txt requirements-cluster.in -o requirements-cluster.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.txt requirements-export.in -o requirements-export.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.txt requirements-tune.in -o requirements-tune.txt
