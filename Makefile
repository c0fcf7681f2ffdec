# Everything here runs from a fresh clone: each target makes what it needs under .venv/, .cache/ and .demo/ first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
# PostgreSQL versions for `make integration`: empty for the newest installed one, "13,18", or "all".
PG ?=
# The same for `make versions`: the oldest and the newest that are supported.
VERSIONS ?= 13,18
# Tests side by side; each of them has servers of its own.
JOBS ?= 2
# Series of ansible-core for `make matrix`: the oldest; "all" but the one of .venv, or "2.18,2.21".
CORE ?= 2.18
# Scenarios for `make molecule`: empty for all.
SCENARIO ?=
# For `make mutants`: how many, the seed that draws the same again, and after how many minutes none is drawn any more.
NUMBER ?= 40
SEED ?=
MINUTES ?= 120
# Not empty: with the tests that only repeat, in other versions or at length, what cheaper ones prove.
WEEKLY ?=
comma := ,
ifneq ($(WEEKLY),)
# For each pair of versions on each PostgreSQL: two hours in all.
export USER_BRIDGE_CHAOS_SECONDS ?= 600
endif

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
KIT := PYTHONPATH=$(CURDIR)/tests

# The checkout is the collection; nothing of the user's own Ansible is read or written.
export PATH := $(BIN):$(PATH)
export ANSIBLE_HOME := $(CURDIR)/.ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections
export ANSIBLE_REMOTE_TEMP := $(CURDIR)/.ansible/tmp
export ANSIBLE_CONFIG := $(VENV)/ansible.cfg
export COVERAGE_FILE := $(CURDIR)/.cache/coverage/data

PYTEST := pytest $(if $(WEEKLY),--weekly)
say = @printf '\n==> %s\n' "$(1)"

.PHONY: help
help: ## This list
	@printf 'Usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## Virtual environment with Ansible, linters and test tools
	@$(KIT) $(PYTHON) -m kit.prepare venv

.PHONY: demo
demo: venv ## A bridge between real LiteLLM and Open WebUI schemas, on this machine, in a minute
	@$(KIT):$(CURDIR) $(BIN)/python -m demo run

.PHONY: demo-clean
demo-clean: ## Stop the demo's server and remove everything of it
	@$(KIT):$(CURDIR) $(PYTHON) -m demo clean

.PHONY: lint
lint: venv ## Linters: ruff, mypy, vermin, yamllint, ansible-lint, docs and changelog
	$(call say,ruff)
	@ruff check
	$(call say,mypy)
	@mypy
	@mypy -p ansible_collections.llmops.user_bridge.plugins
	$(call say,vermin)
	@vermin --quiet --no-tips --violations --target=3.9- plugins/modules plugins/module_utils
	$(call say,yamllint)
	@yamllint --strict .
	$(call say,ansible-lint)
	@ansible-lint --offline
	$(call say,antsibull-docs)
	@cd .collections/ansible_collections/llmops/user_bridge && antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .
	$(call say,antsibull-changelog)
	@antsibull-changelog lint

.PHONY: sanity
sanity: venv ## ansible-test sanity
	$(call say,ansible-test sanity)
	@bash tests/sanity/run.sh $(if $(WEEKLY),,--skip-test pylint)

.PHONY: galaxy
galaxy: venv ## What Galaxy's importer and ansible-builder make of the archive
	$(call say,galaxy)
	@$(KIT) $(BIN)/python -m kit.galaxy $(if $(WEEKLY),--lint)

.PHONY: unit
unit: venv ## Unit tests
	$(call say,unit tests)
	@$(PYTEST) tests/unit

.PHONY: generate
generate: venv ## Write what follows from the settings' declaration: specs, defaults, READMEs, the module's check
	@$(KIT) $(BIN)/python -m kit.generate

.PHONY: docs
docs: venv ## The documentation as a site, with roles and modules: .cache/site/html/index.html
	@$(KIT) $(BIN)/python -m kit.site

.PHONY: matrix
matrix: venv ## Unit tests and a deployment with the oldest ansible-core (CORE=2.18,2.21 or CORE=all, where a Python can run it)
	$(call say,ansible-core)
	@$(KIT) $(BIN)/python -m kit.matrix $(subst $(comma), ,$(filter-out all,$(CORE)))

.PHONY: integration
integration: venv ## Tests against real PostgreSQL with the real schemas (PG=13,18 or PG=all chooses versions)
	$(call say,integration tests)
	@$(PYTEST) tests/integration --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(PG),--pg $(PG))

.PHONY: coverage
coverage: venv ## How much of plugins/ the unit tests and the modules' own tests run, line by line what they do not
	$(call say,coverage)
	@mkdir -p .cache/coverage
	@rm -f .cache/coverage/data*
	@coverage run -m pytest tests/unit tests/integration/test_{module,takeover}*.py $(if $(PG),--pg $(PG))
	@coverage combine --quiet
	@coverage report

.PHONY: versions
versions: venv ## What depends on PostgreSQL's version, on the oldest and the newest (VERSIONS=14,16 or VERSIONS=all)
	$(call say,PostgreSQL $(VERSIONS))
	@USER_BRIDGE_STORIES=$(or $(STORIES),5) $(PYTEST) tests/integration/test_{delivery,security,oracle}.py \
	  --numprocesses $(JOBS) --dist loadfile --schemas new --pg $(VERSIONS)

.PHONY: docker
docker: ## Install Docker from Debian's packages and start it, where no engine answers (root or sudo)
	@$(KIT) $(PYTHON) -m kit.engine start

.PHONY: molecule
molecule: venv ## Molecule scenarios in containers with systemd (SCENARIO=default,container chooses)
	$(call say,molecule)
	@$(KIT) USER_BRIDGE_BRIEF=$(if $(WEEKLY),,1) $(BIN)/python -m kit.scenarios $(subst $(comma), ,$(SCENARIO))

.PHONY: molecule-env
molecule-env: venv ## What `molecule` itself needs, to be evaluated by a shell
	@$(KIT) $(BIN)/python -m kit.scenarios --environment

.PHONY: molecule-faults
molecule-faults: venv ## Proof that the scenarios can fail: each planted fault is caught by the test named for it
	$(call say,planted faults)
	@$(KIT) $(BIN)/python -m kit.faulty

.PHONY: mutants
mutants: venv ## Random small changes to the SQL and the Python that no test notices (NUMBER= SEED= MINUTES=)
	$(call say,mutants)
	@$(KIT) $(BIN)/python -m kit.mutants --number $(NUMBER) --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: bench
bench: venv ## What the bridge costs, with the bounds (ONLY=spend,writes,rate,... USERS= ROUNDS= SECONDS= BULK= MANY= PG= JSON=)
	@env BENCH_ONLY=$(ONLY) BENCH_USERS=$(USERS) BENCH_ROUNDS=$(ROUNDS) BENCH_SECONDS=$(SECONDS) BENCH_BULK=$(BULK) BENCH_MANY=$(MANY) \
	  BENCH_PG=$(PG) BENCH_JSON=$(JSON) \
	  $(KIT):$(CURDIR)/tests/integration:$(CURDIR) $(BIN)/python -m bench

.PHONY: e2e
e2e: venv chromium ## The whole way from the real LiteLLM to the real Open WebUI, over HTTP and in a browser (logs and pictures: .cache/e2e)
	$(call say,end to end)
	@$(PYTEST) tests/e2e $(if $(filter-out all,$(PG)),--pg $(PG))

.PHONY: screenshots
screenshots: venv chromium ## Take the documentation's pictures anew
	@$(PYTEST) tests/e2e/test_browser.py tests/e2e/test_report.py
	@mkdir -p docs/images
	@cp "$$(find "$${USER_BRIDGE_CACHE:-.cache}/e2e" -maxdepth 1 -name '[0-9]*' | sort -V | tail -1)"/{people,users,groups,models}.png docs/images/
	@cp "$${USER_BRIDGE_CACHE:-.cache}/e2e/report/desktop-light.png" docs/images/report.png
	@cp "$${USER_BRIDGE_CACHE:-.cache}/e2e/report/phone-dark-below.png" docs/images/report-phone.png

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || $(KIT) $(PYTHON) -m kit.prepare apt chromium fonts-symbola

.PHONY: stories
stories: venv ## Random stories until the oracle disagrees (STORIES=2000 for each pair of versions)
	$(call say,stories)
	@USER_BRIDGE_STORIES=$(or $(STORIES),2000) pytest tests/integration/test_oracle.py $(if $(filter-out all,$(PG)),--pg $(PG))

.PHONY: worlds
worlds: venv ## Random LiteLLM databases in which the rule for models is compared with LiteLLM itself (WORLDS=200 for each version)
	$(call say,models)
	@USER_BRIDGE_WORLDS=$(or $(WORLDS),200) pytest tests/integration/test_model_oracle.py $(if $(filter-out all,$(PG)),--pg $(PG))

.PHONY: prefetch
prefetch: venv ## Download and make what the tests need once: PostgreSQL servers, environments of both programs, images
	@$(KIT) $(BIN)/python -m kit.prefetch

# Containers and browsers leave half of two cores idle, and so do linters: see tests/kit/targets.py. What fills both comes
# last in each lane, as it may be alone then.
TARGETS ?= lint+sanity+unit,galaxy integration,versions+matrix,molecule,e2e

.PHONY: test
test: venv ## Everything that proves something once; what each target took is in .cache/times.tsv
	@$(KIT) $(PYTHON) -m kit.targets $(TARGETS)

.PHONY: test-all
test-all: ## The same on all versions and at length, with every planted fault; takes hours
	@$(MAKE) test TARGETS="$(subst $(comma)versions,,$(TARGETS)) molecule-faults stories worlds mutants demo" WEEKLY=1 PG=all CORE=all

.PHONY: release
release: venv ## The commit before a release: version and changelog (VERSION=1.2.3)
	@$(KIT) $(BIN)/python -m kit.release prepare $(VERSION)

.PHONY: clean
clean: demo-clean ## Remove everything that these targets made in the checkout
	rm -rf .venv .cache .collections .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/output
