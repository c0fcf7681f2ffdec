# Everything here runs from a fresh clone: each target makes what it needs under .venv/, .cache/ and .demo/ first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
# PostgreSQL versions for `make integration`: empty for the newest installed one, "13,18", or "all".
PG ?=
# The same for `make versions`, where PG says nothing: "others" are all that are not installed.
VERSIONS ?= others
# Tests side by side; each of them has servers of its own.
JOBS ?= 2
# Series of ansible-core for `make matrix`: empty for all but the one of .venv.
CORE ?=
# Scenarios for `make molecule`: empty for all.
SCENARIO ?=
comma := ,

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
	@bash tests/sanity/run.sh

.PHONY: unit
unit: venv ## Unit tests
	$(call say,unit tests)
	@pytest tests/unit

.PHONY: generate
generate: venv ## Write what follows from the settings' declaration: specs, defaults, READMEs, the module's check
	@$(KIT) $(BIN)/python -m kit.generate

.PHONY: matrix
matrix: venv ## Unit tests and a deployment with every other pinned ansible-core that a Python on this machine can run (CORE=2.18,2.21)
	$(call say,ansible-core)
	@$(KIT) $(BIN)/python -m kit.matrix $(subst $(comma), ,$(CORE))

.PHONY: integration
integration: venv ## Tests against real PostgreSQL with the real schemas (PG=13,18 or PG=all chooses versions)
	$(call say,integration tests)
	@pytest tests/integration --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(PG),--pg $(PG))

.PHONY: coverage
coverage: venv ## How much of plugins/ the unit tests and the modules' own tests run, line by line what they do not
	$(call say,coverage)
	@mkdir -p .cache/coverage
	@rm -f .cache/coverage/data*
	@coverage run -m pytest tests/unit tests/integration/test_{module,takeover}*.py $(if $(PG),--pg $(PG))
	@coverage combine --quiet
	@coverage report

.PHONY: versions
versions: venv ## Every mapping and delivery rule on the PostgreSQL versions that are not installed
	$(call say,PostgreSQL $(or $(PG),$(VERSIONS)))
	@pytest tests/integration/test_{delivery,mapping,reconcile,removals,security}.py --numprocesses $(JOBS) --dist loadfile \
	  --schemas new --pg $(or $(PG),$(VERSIONS))

.PHONY: docker
docker: ## Install Docker from Debian's packages and start it, where no engine answers (root or sudo)
	@$(KIT) $(PYTHON) -m kit.engine start

.PHONY: molecule
molecule: venv ## Molecule scenarios in containers with systemd (SCENARIO=default,remove chooses)
	$(call say,molecule)
	@$(KIT) $(BIN)/python -m kit.scenarios $(subst $(comma), ,$(SCENARIO))

.PHONY: molecule-env
molecule-env: venv ## What `molecule` itself needs, to be evaluated by a shell
	@$(KIT) $(BIN)/python -m kit.scenarios --environment

.PHONY: molecule-faults
molecule-faults: venv ## Proof that the scenarios can fail: each planted fault is caught by the test named for it
	$(call say,planted faults)
	@$(KIT) $(BIN)/python -m kit.faulty

.PHONY: bench
bench: venv ## What the bridge costs, with the bounds (ONLY=spend,user,rate,bulk,rename,modules,playbook USERS= ROUNDS= SECONDS= BULK= MANY= PG=)
	@env BENCH_ONLY=$(ONLY) BENCH_USERS=$(USERS) BENCH_ROUNDS=$(ROUNDS) BENCH_SECONDS=$(SECONDS) BENCH_BULK=$(BULK) BENCH_MANY=$(MANY) \
	  BENCH_PG=$(PG) \
	  $(KIT):$(CURDIR)/tests/integration:$(CURDIR) $(BIN)/python -m bench

.PHONY: e2e
e2e: venv chromium ## The whole way to the real Open WebUI, over HTTP and in a browser (logs and pictures: .cache/e2e)
	$(call say,end to end)
	@pytest tests/e2e $(if $(PG),--pg $(PG))

.PHONY: screenshots
screenshots: venv chromium ## Take the README's pictures anew
	@pytest tests/e2e/test_browser.py
	@mkdir -p docs/images
	@cp "$$(find "$${USER_BRIDGE_CACHE:-.cache}/e2e" -mindepth 1 -maxdepth 1 | sort -V | tail -1)"/{users,groups}.png docs/images/

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || $(KIT) $(PYTHON) -m kit.prepare apt chromium fonts-symbola

.PHONY: stories
stories: venv ## Random stories until the oracle disagrees (STORIES=2000 for each pair of versions)
	$(call say,stories)
	@USER_BRIDGE_STORIES=$(or $(STORIES),2000) pytest tests/integration/test_oracle.py $(if $(PG),--pg $(PG))

.PHONY: test
test: lint sanity unit matrix integration molecule e2e ## Everything there is to test
	$(call say,all tests passed)

.PHONY: clean
clean: demo-clean ## Remove everything that these targets made in the checkout
	rm -rf .venv .cache .collections .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/output
