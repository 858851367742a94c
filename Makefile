# Everything a developer or a new user needs; `make help` lists it.
VENV   := .venv
PYTHON ?= python3
TNT    := $(VENV)/bin/tnt
UV     ?= uv
# Nothing is resolved here: constraints.txt lists every package (docs/decisions.md).
INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps
LOCK   := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
          --custom-compile-command 'make lock' --group build pyproject.toml
export DAGSTER_HOME := $(CURDIR)

.PHONY: help demo dev aws-local test test-heavy proofs check bench fmt lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tnt_platform needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r constraints.txt
	$(INSTALL) --no-build-isolation -e .
	@touch $@

demo: $(VENV)/.ready ## 1,000 shipper files through the real sensor to published results, explained
	@$(TNT) demo

dev: $(VENV)/.ready ## Web UI, daemon with running sensors, and a stand-in rate API
	@$(TNT) dev

aws-local: $(VENV)/.ready ## The whole AWS path on a laptop: terraform apply on a stand-in, runs as its ECS tasks
	@$(VENV)/bin/python -m tnt_platform_tests.infra.aws_local

test: $(VENV)/.ready ## The tests (five and a half minutes on two cores)
	@$(VENV)/bin/python -m pytest -q -n 4 -m "not heavy"

test-heavy: $(VENV)/.ready ## Kill -9, concurrency, real daemon and browser (twenty minutes)
	@$(VENV)/bin/python -m pytest -q -n 3 --dist loadfile -m heavy --durations 30 --durations-min 5

proofs: $(VENV)/.ready ## All tests with all their rounds and examples: 50 kills, 8 x 50 commits, long histories (an hour)
	@TNT_TEST_FULL=1 $(MAKE) test test-heavy

check: $(VENV)/.ready ## Lint, types, import directions, dataset YAML
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(TNT) validate

bench: $(VENV)/.ready ## Benchmarks against peers; tables on screen, JSON in bench/results
	$(VENV)/bin/python -m bench

fmt: $(VENV)/.ready ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: ## Pin the exact packages with hashes again (needs uv; UPGRADE=--upgrade takes the newest)
	$(LOCK) $(UPGRADE) --extra dev --output-file constraints.txt
	$(LOCK) --constraints constraints.txt --output-file constraints-production.txt

clean: ## Remove local state (published data of the demo included)
	rm -rf .tnt
