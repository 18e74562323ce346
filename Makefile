# Everything a contributor needs. `make` alone lists the targets.

PYTHON ?= python3
BIN := .venv/bin
# Tests spend half of their time waiting for servers, so this is twice the two cores of the smallest machines we use.
TEST_PROCESSES ?= 4
# Tests start many processes. Without cached bytecode, each of them would compile all of snapseed.
unexport PYTHONDONTWRITEBYTECODE
WORKFLOWS := $(wildcard .github/workflows/*.yml examples/workflows/*.yml snapseed/starter/*/.github/workflows/*.yml)

.DEFAULT_GOAL := help
.PHONY: help install demo test compiled coverage test-lowest test-system test-browser report-pictures test-slow test-fresh check format bench bench-generate bench-load bench-large \
  bench-reset bench-diff bench-capture bench-embeddings bench-beyond bench-billion bench-content stress stress-loads stress-embeddings stress-settings stress-kills \
  stress-canary stress-capture fuzz fuzz-files pools snapshots wheel wheels constraints clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install ## generate 10,000 users, load them into an embedded PostgreSQL, verify and show them
	$(BIN)/snapseed generate --scale 10k
	$(BIN)/snapseed load dev
	$(BIN)/snapseed verify dev
	$(BIN)/snapseed show dev
	@echo
	@echo 'Look around:   $(BIN)/snapseed db psql dev'
	@echo 'Connect:       $(BIN)/snapseed db url dev'
	@echo 'Stop servers:  $(BIN)/snapseed db stop'

install: .venv/ready ## create .venv and install everything into it (other targets do this when needed)

test: install ## run `make check`, then the tests, but for those of test-slow
	$(MAKE) --jobs=2 check compiled
	$(BIN)/pytest -m 'not slow' --numprocesses $(TEST_PROCESSES) --dist worksteal

# pytest rewrites the assertions of each test module once and keeps the bytecode. Test processes that start at the same
# time would each do all of it; check, beside which it runs, mostly needs one core. Errors show in the tests.
compiled: install
	-@$(BIN)/pytest --collect-only --quiet >/dev/null

coverage: install ## run the tests with coverage (takes 50 % longer)
	$(BIN)/pytest --cov --numprocesses $(TEST_PROCESSES) --dist worksteal

test-lowest: .venv/lowest/ready ## run the tests with the lowest versions allowed by pyproject.toml
	.venv/lowest/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal

test-system: install ## run the tests with the PostgreSQL installed on this machine
	SNAPSEED_TEST_DATABASE=system $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist worksteal

test-browser: .venv/browser ## test the page of snapseed report in Chromium or Chrome (apt-get installs it if there is none)
	@command -v chromium google-chrome chromium-browser >/dev/null || \
	  { set -x; $(if $(filter 0,$(shell id -u)),,sudo) apt-get install -y --no-install-recommends chromium; }
	$(BIN)/pytest tests/report

report-pictures: .venv/browser ## pages of snapseed report in all looks, as pictures (FOLDER=pictures PAGES="more.html")
	$(BIN)/python -m tests.report.pictures $(or $(FOLDER),pictures) $(PAGES)

test-slow: install ## run the tests that take long: the wheel, the action, workflows, demonstrations, larger schemas
	$(BIN)/pytest -m slow --numprocesses $(TEST_PROCESSES) --dist worksteal

test-fresh: install ## run the property tests with 50 times as many examples, all new (SEED=7 repeats a run)
	SNAPSEED_TEST_EXAMPLES=fresh $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist worksteal \
	  --hypothesis-seed $(or $(SEED),$(shell date +%Y%m%d)) $$(grep -rl '^@given' tests)

check: install ## check formatting, lint, types, import rules and workflows (no tests)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.house
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck $(WORKFLOWS)
	$(BIN)/zizmor --offline --quiet . $(WORKFLOWS)

format: install ## format the code and fix what lint can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/bench ## measure generating, loading and verifying on this machine
	$(BIN)/python benchmarks/run.py

bench-generate: .venv/bench ## measure generation against its targets and other generators
	$(BIN)/python benchmarks/run.py --generation

bench-load: .venv/bench ## measure loads against their targets and other tools
	$(BIN)/python benchmarks/run.py --loads

bench-large: .venv/bench ## bench-load, and the memory of loading 20 million rows
	$(BIN)/python benchmarks/run.py --loads --large

bench-reset: .venv/bench ## measure how long tests wait for a database, and snapseed reset
	$(BIN)/python benchmarks/run.py --resets

bench-diff: .venv/bench ## measure differences against verify and other tools
	$(BIN)/python benchmarks/run.py --diffs --rounds 3

bench-capture: .venv/bench ## measure captures against their targets and other tools
	$(BIN)/python benchmarks/run.py --captures

bench-embeddings: .venv/bench ## measure the embedding queue, its workers and other queues
	$(BIN)/python benchmarks/run.py --embeddings

bench-beyond: .venv/bench ## measure Dask, workers that die, object stores and parallel loads
	$(BIN)/python benchmarks/run.py --beyond

bench-billion: .venv/bench ## gather the 400,000 parts of a billion users through a Dask scheduler (PARTS=20000 is quick)
	$(BIN)/python -m benchmarks.billion $(if $(PARTS),--parts $(PARTS))

bench-content: .venv/bench ## measure the quality of the example's texts and write docs/content.md
	$(BIN)/python -m benchmarks.content

stress: stress-loads stress-embeddings stress-settings stress-kills stress-capture stress-canary ## run the stress tests below (half an hour)

stress-loads: install ## inject 108 faults into loads at random points and check each (options: SEED=7 FAULTS=500)
	$(BIN)/python -m tests.stress $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

stress-embeddings: install ## kill workers and servers during 20,000 jobs, check that no job is lost (option: SEED=7)
	$(BIN)/python -m tests.stress.embeddings $(if $(SEED),--seed $(SEED))

stress-settings: install ## give roles and databases each of 180 settings an awkward value, and check that nothing changes
	$(BIN)/python -m tests.stress.settings

stress-kills: install ## kill each command at 80 random moments, check what it leaves (options: SEED=7 KILLS=1000)
	$(BIN)/python -m tests.stress kills $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS))

stress-capture: install ## capture a primary and a standby while pgbench writes (options: CAPTURES=100, PUBLISHED=FOLDER: capture SQL files instead)
	$(BIN)/python -m tests.stress.capture $(if $(CAPTURES),--captures $(CAPTURES)) $(if $(PUBLISHED),--published $(PUBLISHED))

stress-canary: install ## run every command in 1,600 ways with a password, and look for it in all outputs and files
	$(BIN)/python -m tests.stress canary

fuzz: install ## run the compiled core under sanitizers on 200,000 random inputs (option: INPUTS=1000000)
	$(BIN)/python -m tests.core.fuzz $(if $(INPUTS),--inputs $(INPUTS))

fuzz-files: install ## damage and forge the files of a snapshot 10,000 times, check what reads them (option: MUTATIONS=500)
	$(BIN)/python -m tests.stress.files $(if $(MUTATIONS),--mutations $(MUTATIONS))

pools: install ## redraw the name pools with Faker (new names change every snapshot)
	$(BIN)/python generators/pools/draw.py

snapshots: install ## regenerate the committed snapshots, ci and test
	$(BIN)/snapseed generate ci
	$(BIN)/snapseed generate test

wheel: install ## build the source distribution and the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --dependency-constraints-txt constraints.txt

wheels: install ## build the source distribution, and a wheel for each platform by cross-compiling
	rm -rf dist
	$(BIN)/python -m build --sdist --dependency-constraints-txt constraints.txt
	for target in $$($(BIN)/python build_core.py); do \
	  SNAPSEED_TARGET=$$target $(BIN)/python -m build --wheel --dependency-constraints-txt constraints.txt || exit 1; \
	done

constraints: ## update constraints.txt and constraints-lowest.txt (with Python 3.11, the oldest supported)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo 'Constraints must be made with Python 3.11, the oldest supported: make constraints PYTHON=python3.11' >&2; exit 1; }
	rm -rf .venv/fresh
	$(call INSTALL,.venv/fresh)
	.venv/fresh/bin/python -m pip install -qq --group bench --group browser
	.venv/fresh/bin/python -m pip freeze --all --exclude-editable --exclude setuptools > constraints.txt
	.venv/fresh/bin/python -m pip install -qq uv
	rm -f constraints-lowest.txt
	.venv/fresh/bin/uv pip compile --quiet --resolution lowest-direct --universal \
	  --extra all --group test --no-header --no-annotate --output-file constraints-lowest.txt pyproject.toml
	rm -rf .venv/fresh

clean: ## stop the embedded servers; remove them, .venv, caches and uncommitted snapshots
	@if [ -d .snapseed ] && [ -x $(BIN)/snapseed ]; then set -x; $(BIN)/snapseed db stop; fi
	rm -rf .venv .snapseed dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf $(filter-out snapshots/ci snapshots/test,$(wildcard snapshots/*))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(1): the virtual environment; $(2) and $(3): constraints for packages, and for building them.
# Dependency groups need pip 25.1 and build constraints pip 25.3; a new environment may have an older pip.
# Half of an install is compiling modules, most of which nobody imports. The others are compiled on first use.
define INSTALL
	$(1)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(1)
	$(1)/bin/python -m pip install -qq --disable-pip-version-check $(2) 'pip>=25.3'
	$(1)/bin/python -m pip install -qq --no-compile $(2) $(3) --editable '.[all]' --group dev
endef

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "snapseed needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo 'Use another one: make install PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its venv module is not installed." >&2; \
	  echo 'On Debian and Ubuntu: sudo apt-get install python3-venv' >&2; exit 1; }
	@echo 'Setting up .venv (up to a minute):'
	$(call INSTALL,.venv,-c constraints.txt,--build-constraint constraints.txt)
	@touch $@

.venv/lowest/ready: .venv/ready constraints-lowest.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install -qq -c constraints.txt 'pip>=25.3'
	$(@D)/bin/python -m pip install -qq -c constraints-lowest.txt --build-constraint constraints.txt \
	  --editable '.[all]' --group test
	@touch $@

.venv/browser: .venv/ready
	$(BIN)/python -m pip install -qq -c constraints.txt --group browser
	@touch $@

.venv/bench: .venv/ready
	$(BIN)/python -m pip install -qq -c constraints.txt --group bench
	@touch $@
