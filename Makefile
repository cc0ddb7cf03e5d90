# Every command of a developer. Needs Python 3.11 or newer and make; the rest installs itself.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Another interpreter for a new environment: rm -r .venv; make PYTHON=/path/to/python3 ...
PYTHON ?= $(shell bash deploy/local/find_python.sh | head -n 1)

RUN := .venv/bin/python -m
LOCAL := $(RUN) deploy.local
ENVIRONMENT := .venv/requirements.lock

.PHONY: help up down clean demo ops watch run trace test check check-pythons lint types format token \
	logs status schemas docs verify faults mutants soak upgrade failover bench bench-peers lock \
	compose-up compose-down compose-demo compose-faults \
	compose-restore

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

up: $(ENVIRONMENT)  ## start the whole stack in the background; addresses in .local/stack.json
	@$(LOCAL) up

down: $(ENVIRONMENT)  ## stop it; data is kept
	@$(LOCAL) down

clean: $(ENVIRONMENT)  ## stop it and remove all data
	@$(LOCAL) clean

status: $(ENVIRONMENT)  ## what runs
	@$(LOCAL) status

logs: $(ENVIRONMENT)  ## last lines of all logs, or follow one: make logs SERVICE=order
	@$(LOCAL) logs $(SERVICE)

watch: $(ENVIRONMENT)  ## restart the services whose files you edit, until Ctrl-C
	@$(LOCAL) watch

run: $(ENVIRONMENT)  ## one service in this terminal: make run SERVICE=order [DEBUG=1]
	@$(LOCAL) run $(or $(SERVICE),$(error name a service: make run SERVICE=order)) $(if $(DEBUG),--debug)

trace: $(ENVIRONMENT)  ## one order through all logs: make trace ORDER=id
	@$(LOCAL) trace $(or $(ORDER),$(error name an order: make trace ORDER=id))

token: $(ENVIRONMENT)  ## a token to try with: make token CUSTOMER=c1 [ROLE=operator]
	@$(LOCAL) token --customer '$(or $(CUSTOMER),$(error say who: make token CUSTOMER=...))' \
		$(if $(ROLE),--role '$(ROLE)')

ops: $(ENVIRONMENT)  ## look into it: make ops ARGS='orders list', ARGS='--help'
	@$(LOCAL) ops $(ARGS)

demo: $(ENVIRONMENT)  ## orders paid, declined, cancelled, expired, raced for; on a stack of its own
	@$(LOCAL) demo

# Parallel processes, which are not the default until they have been seen to be reliable.
PARALLEL = --numprocesses $(WORKERS) --no-loadscope-reorder

test: $(ENVIRONMENT)  ## all tests; some: make test ARGS='tests/saga -k late'; in parallel: make test WORKERS=3
	@$(RUN) pytest $(if $(WORKERS),$(PARALLEL)) $(ARGS)

check: lint types  ## lint, types and all tests that need no server
	@TEST_SERVERS=none $(RUN) pytest -m 'not servers' --numprocesses logical

check-pythons: $(ENVIRONMENT)  ## the tests that need no server, on every supported Python found here
	@bash deploy/local/find_python.sh | while read -r python; do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		$$python deploy/local/environment.py .local/python-$$version; \
		echo "== Python $$version"; \
		TEST_SERVERS=none .local/python-$$version/bin/python -m pytest -q -m 'not servers' \
			--numprocesses logical; \
	done

lint: $(ENVIRONMENT)  ## style, formatting, and which module may import which
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports

types: $(ENVIRONMENT)  ## static types
	$(RUN) mypy

format: $(ENVIRONMENT)  ## correct what a program can correct
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

compose-up:  ## the whole system in containers, on http://127.0.0.1:8000; needs Docker
	docker compose up --build --wait

compose-down:  ## stop the containers; data is kept
	docker compose down

compose-demo: $(ENVIRONMENT)  ## the demonstration on containers of its own
	@$(RUN) deploy.compose demo

compose-faults: $(ENVIRONMENT)  ## beat containers and judge them: make compose-faults SEED=7
	@$(RUN) tests.faults.on_containers $(if $(SEED),--seed $(SEED)) $(ARGS)

compose-restore: $(ENVIRONMENT)  ## back up under load, lose all databases, restore, judge; on containers
	@$(RUN) tests.faults.restored $(ARGS)

failover: $(ENVIRONMENT)  ## lose the primary database server under load, promote its standby, judge
	@$(RUN) tests.faults.failover $(ARGS)

schemas: $(ENVIRONMENT)  ## write the JSON schemas of all messages
	$(RUN) contracts.generate

docs: $(ENVIRONMENT)  ## write the generated parts of the documentation
	$(RUN) docs.generate

verify: $(ENVIRONMENT)  ## compare all databases, topics and Stripe of the running stack: I1 to I10
	@$(RUN) deploy.verify

faults: $(ENVIRONMENT)  ## beat a stack of its own and judge it: make faults SEED=7 [SEEDS=10]
	@$(RUN) tests.faults $(if $(SEED),--seed $(SEED)) --seeds $(or $(SEEDS),1) $(ARGS)

mutants: $(ENVIRONMENT)  ## break the system on purpose; the harness must notice: make mutants [ONLY=no-inbox]
	@$(RUN) tests.faults.mutants $(if $(ONLY),--only $(ONLY))

soak: $(ENVIRONMENT)  ## the same for long, on three brokers: make soak MINUTES=60
	@$(RUN) tests.faults --brokers 3 --faults 10 \
		--minutes $(or $(MINUTES),$(error say how long: make soak MINUTES=60)) $(ARGS)

upgrade: $(ENVIRONMENT)  ## the release before and this one side by side under load, and back
	@$(RUN) tests.faults.upgrade $(ARGS)

bench: $(ENVIRONMENT)  ## measure the saga
	$(RUN) benchmarks.saga $(ARGS)

bench-peers: $(ENVIRONMENT)  ## measure it beside its peers, about 25 minutes: make bench-peers [ARGS=--quick]
	@$(RUN) benchmarks.peers $(ARGS)

lock:  ## write the lock files anew (needs uv)
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
		--upgrade --group local --group dev --output-file requirements.lock pyproject.toml
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
		--constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
		--upgrade --output-file benchmarks/peers/requirements.lock benchmarks/peers/requirements.in

$(ENVIRONMENT): requirements.lock
	@test -n '$(PYTHON)' || { echo 'error: no Python 3.11 to 3.14 found on PATH or in pyenv;' \
		'install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) deploy/local/environment.py
