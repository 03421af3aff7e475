# Everything that is typed: `make demo`, `make test`. Needs Python 3.11 or newer and make, nothing else.
#
#   PYTHON=python3.12   which Python makes the virtual environment
#   PORT=8000            make serve: this port instead of any free one
#   KEEP=1              make demo: leave the service up afterwards
#   DRILLS="kills storm" make drills: only these; QUICK=1 with fewer repetitions, MINUTES=8 to go on later
#   QUICK=1             make reproduce: a small subset, ten minutes; MINUTES=60 to go on later; CHECK=3 cells again (by SEED)
#   FAST=1              make test: only tests without servers and slow children; three minutes
#   TESTS=tests/unit    make test: all of these; ARGS="-k upload" for more of pytest
#   MODEL=ViT-B-32.pt   make gpu: this checkpoint, DATA=/data with labelled/ and pairs/; DEVICE=cpu QUICK=1 without a GPU
#   PARTS="audit scan"  make gpu: only these parts
#   EIGHTH=2            make test-all: only this eighth of the tests that `make test` leaves out
#   PROCESSES=1         … in so many processes; three keep two cores busy, since a test often waits for another process

SHELL := /bin/sh
PYTHON ?= python3
KEEP ?=
PORT ?= 0
DRILLS ?=
QUICK ?=
MINUTES ?=
RAW ?=
CHECK ?=
SEED ?=
FAST ?=
EIGHTH ?=
DEVICE ?=
MODEL ?=
DATA ?=
PARTS ?=
TESTS ?=
PROCESSES ?= 3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SYNC := cleanclip/sync/client.py
PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder
FAST_TESTS := $(or $(TESTS),tests/unit) -m 'not full and not slow and not stack'

# What the tests start again and again is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-all drills reproduce zoo gpu check docs format images compose-test install install-dev clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: install  ## Poison a small CLIP and clean it through the running service; KEEP=1 leaves it up
	@KEEP=$(KEEP) $(BIN)/python -m demo

serve: install  ## Run the whole service on this machine until Ctrl-C
	@$(BIN)/python -m app.cli serve --port $(PORT)

test: install-dev  ## Run the tests; FAST=1 for the inner loop
	@$(PYTEST) $(if $(FAST),$(FAST_TESTS),$(or $(TESTS),-m 'not full')) $(ARGS)

test-all: install-dev  ## Run every test, also the long ones; keeps results in docs/test-all.json (before a release)
	@$(PYTEST) $(if $(EIGHTH),--eighth $(EIGHTH)) --record-all $(ARGS)

reproduce: install-dev  ## Measure the paper's claims on small poisoned models: docs/reproduction/tables.md (hours; continues after an interruption)
	@$(BIN)/python -m lab.reproduction $(if $(QUICK),--quick) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(RAW),--raw $(RAW)) $(if $(CHECK),--check $(CHECK)) $(if $(SEED),--seed $(SEED))

zoo: install-dev  ## Train small models, clean and poisoned, and scan them: var/zoo/tables.md (hours; continues after an interruption)
	@nice -n 10 env OMP_NUM_THREADS=1 $(BIN)/python -m lab.zoo $(if $(MINUTES),--minutes $(MINUTES)) $(if $(MOST),--most $(MOST)) \
		$(if $(BEDS),--beds $(BEDS)) $(if $(SPLITS),--splits $(SPLITS)) $(if $(DETECTORS),--detectors $(DETECTORS))

gpu: install-dev  ## Test, benchmark, audit, scan and clean on this machine's GPU: docs/gpu.md (continues after an interruption)
	@HF_HUB_OFFLINE=1 $(BIN)/python -m lab.gpu $(if $(DEVICE),--device $(DEVICE)) $(if $(QUICK),--quick) \
		$(if $(MODEL),--model $(MODEL)) $(if $(DATA),--data $(DATA)) $(if $(PARTS),--parts $(PARTS))

drills: install-dev  ## Break real processes and check that nothing is lost: docs/reliability.md
	@$(BIN)/python -m lab.drills $(DRILLS) $(if $(QUICK),--quick) $(if $(MINUTES),--minutes $(MINUTES))

check: install-dev docs  ## Lint, types, import rules, links of the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install-dev  ## Build the documentation's site into var/site/; fails if a link is broken
	@$(BIN)/python -m tools.make_site

format: install-dev  ## Format the code; write the reference pages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m tools.reference

images:  ## Build the container images; TORCH=cuda or cpu, TAG=…; without a hub on stand-ins of the bases
	@docker/images.sh

compose-test: install-dev  ## Start docker-compose.yml on a real engine and run a checkpoint through it
	@docker/engine.sh
	@$(BIN)/python -m tests.containers.compose

clean:  ## Remove the virtual environment and everything under var/
	rm -rf $(VENV) var

install: $(INSTALLED)-demo $(SYNC)  ## Make the virtual environment (the other targets do it too)
install-dev: $(INSTALLED)-dev $(SYNC)

# The synchronous client is not kept in the repository; installing makes it, and so does a change of its source.
$(SYNC): cleanclip/setup.py $(wildcard cleanclip/aio/*.py) | $(BIN)/python
	@$(BIN)/python cleanclip/setup.py && touch $@

# One stamp per extra: a second run is instant, a changed list of packages installs again.
$(INSTALLED)-%: pyproject.toml cleanclip/pyproject.toml cleanclip/setup.py constraints.txt | $(BIN)/python
	@echo "Installing (extra '$*'); the first time this takes some minutes …"
	@mkdir -p var && started=$$(date +%s) && \
	$(BIN)/python tools/show_install.py --disable-pip-version-check \
		--editable ./cleanclip --editable '.[$*]' --constraint constraints.txt && \
	echo "{\"extra\": \"$*\", \"install_s\": $$(($$(date +%s) - started))}" > \
		var/install$(if $(filter demo,$*),,-$*).json
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || \
		{ echo "There is no $(PYTHON). Install Python 3.11 or newer, or say which: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; say which: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
