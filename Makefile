# `make run` starts the site, `make test` checks everything; both set up what they need first.
# Needed on the machine: python3 (3.11 or later), make, git.

# The Python of the system comes first: one that was built here, as pyenv does it, is often built
# without what makes it quick. For another one, remove .venv, then: make run PYTHON=python3.13
PYTHON := $(shell for python in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)

# What is installed in .venv is told by the name of an empty file: it holds the hash of the
# requirements and the version of Python, so a start without changes installs nothing.
hash = $(shell { cat $(1) && "$(PYTHON)" --version; } 2>&1 | sha256sum | cut -c1-16)
INSTALLED := .venv/installed-$(call hash,requirements.txt)
INSTALLED_TESTS := .venv/installed-tests-$(call hash,requirements.txt tests/requirements.txt)
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run test test-quick lint format bench mutants torture
help:
	@echo 'make run      start the site at http://127.0.0.1:8000 (Ctrl-C stops it)'
	@echo 'make test     run every check and test; ARGS="tests/test_x.py -k y" runs those only'
	@echo 'make test-quick  lint, and the tests of rules, file readers and models'
	@echo 'make lint     ruff, djade and mypy only'
	@echo 'make format   put the code into its standard form'
	@echo 'make bench    measure a job of 100,000 rows, each view and click (ARGS=--million:
	@echo '              of 1,000,000, too; --growth: time and memory up to there; --workers:'
	@echo '              with several of them on PostgreSQL), how good'
	@echo '              estimates are, and what idling costs'
	@echo 'make mutants  put thirty faults into the code, one at a time: tests must notice each'
	@echo 'make torture  a site under faults and kills, 200 times: RUNS=, SEED=, PARALLEL=,'
	@echo '              DATABASE=postgresql, HOSTS=2 (as root), REPORT=file'

run: $(INSTALLED)
	@exec .venv/bin/python manage.py serve

test: $(INSTALLED_TESTS)
ifdef ARGS
	@.venv/bin/python -m pytest $(ARGS)
else
	@.venv/bin/python -m tests.run
endif

test-quick: $(INSTALLED_TESTS)
	@.venv/bin/python -m tests.run quick

lint: $(INSTALLED_TESTS)
	@.venv/bin/python -m tests.run lint

format: $(INSTALLED_TESTS)
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format .
	@find templates -name '*.html' -exec .venv/bin/djade --target-version 5.2 {} +

bench: $(INSTALLED_TESTS)
	@.venv/bin/python -m tests.bench $(ARGS)
	@.venv/bin/python -m tests.bench_reading $(ARGS)
	@.venv/bin/python -m tests.bench_rows $(ARGS)
	@.venv/bin/python -m tests.bench_clicks $(ARGS)
	@.venv/bin/python -m tests.bench_pages $(ARGS)
	@.venv/bin/python -m tests.bench_estimates
	@.venv/bin/python -m tests.bench_growth $(ARGS)
	@.venv/bin/python -m tests.bench_workers $(ARGS)
	@.venv/bin/python -m tests.bench_idle
	@.venv/bin/python -m tests.bench_load $(ARGS)

mutants: $(INSTALLED_TESTS)
	@.venv/bin/python -m tests.code_mutants
	@.venv/bin/python -m tests.torture --mutants

torture: $(INSTALLED_TESTS)
	@.venv/bin/python -m tests.torture $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(PARALLEL),--parallel $(PARALLEL)) $(if $(DATABASE),--database $(DATABASE)) \
		$(if $(HOSTS),--hosts $(HOSTS)) $(if $(REPORT),--report $(REPORT)) $(ARGS)

$(INSTALLED):
	@.ci/venv "$(PYTHON)"
	@echo 'Installing the requirements into .venv'
	@$(PIP) -r requirements.txt
	@rm -f .venv/installed-* && touch $@

$(INSTALLED_TESTS): $(INSTALLED)
	@echo 'Installing the test tools into .venv'
	@$(PIP) -r tests/requirements.txt
	@rm -f .venv/installed-tests-* && touch $@
