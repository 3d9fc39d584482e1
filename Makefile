# gpu-triage: `make demo` shows it at work, `make test` runs every check.
#
# Needs Python >= 3.10, make and a package index; a C compiler only where an index has no wheel.
# Everything is installed into .venv, from lock files with hashes.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check lint types rules pytest fix lock clean bench fuzz soak faults mutate audit sbom screenshots docs links dist

VENV := .venv
BIN := $(VENV)/bin
# The times in this log name no year; --now says that it was written in 2024, so that the demo prints the same for ever.
DEMO := explain examples/double-bit-error.log --now 1733200000
CODE := $(sort $(dir $(wildcard triage/*.py probes/*.py tui/*.py tests/*.py benchmarks/*.py docs/*.py packaging/*.py)))

# The first Python that is new enough and can make a virtual environment; `make PYTHON=/path/to/python` overrides.
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3.10 python3; do \
	$$p -c '$(USABLE)' >/dev/null 2>&1 && echo $$p && break; done)
endif

# A stamp names what was installed, so that a changed lock, project or Python is a new stamp, and an equal one costs nothing.
stamp = $(VENV)/.$(1)-$(shell { cat pyproject.toml $(2); echo "$(PYTHON)"; } | cksum | tr ' ' -)
RUN := $(call stamp,run,requirements.lock requirements-build.lock)
DEV := $(call stamp,dev,requirements-dev.lock)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:
	@echo 'make demo    install into $(VENV) and explain a real kernel log'
	@echo 'make test    every check there is: lint, types, spelling, rules, tests'
	@echo 'make check   the quick ones: all but the tests'
	@echo 'make fix     format and mend what can be mended by machine'
	@echo 'make bench   the benchmarks'
	@echo 'make fuzz    every reader, guided by coverage, FUZZ_SECONDS=300 each (x86-64)'
	@echo 'make screenshots   draw docs/images anew'
	@echo 'make docs    the documentation as HTML, in build/docs'
	@echo 'make dist    wheel, source archive, one executable file and a Debian package, in dist'
	@echo 'make faults  the tests that the tables of docs/reliability.md name, and no others'
	@echo 'make mutate  change what decides in small ways; its tests must notice'
	@echo 'make audit   whether a locked dependency has a known weakness (asks the network)'
	@echo 'make sbom    what this is made of, as dist/sbom.cdx.json (CycloneDX)'
	@echo 'make soak    kill sweeps, checks, watches, fleet sweeps and the queue of alerts at random moments, KILLS=1000 each;'
	@echo '             tell a watch EVENTS=2000000 lines and see that it stays as small as it was'
	@echo 'make lock    renew the lock files (needs uv; UPGRADE=--upgrade for newer versions)'
	@echo 'make clean   remove what make made'

demo: $(RUN)
	@$(BIN)/gpu-triage $(DEMO)

test: check pytest

check: lint types rules

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(DEV)
	$(BIN)/mypy $(CODE)

rules: $(DEV)
	$(BIN)/gpu-triage rules lint
	$(BIN)/gpu-triage rules test

pytest: $(DEV)
	$(BIN)/python -m pytest $(PYTEST)

fix: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	@set -- benchmarks/bench_*.py; \
	[ -e "$$1" ] || { echo 'make bench: there are no benchmarks yet' >&2; exit 1; }; \
	for b; do echo "== $$b"; $(BIN)/python "$$b" || exit; done

FUZZ_SECONDS := 300
FUZZED := records inputs explain fast rules words nodes \
	kmsg journal crash smi_text smi_xml report pci captured streams site search pasted decoded remote programs

fuzz: $(DEV)
	$(PIP) install --require-hashes --requirement requirements-fuzz.lock
	for target in $(FUZZED); do $(BIN)/python -m tests.fuzz.run $$target --seconds $(FUZZ_SECONDS) || exit; done

screenshots: $(DEV)
	$(BIN)/python docs/screenshots.py

docs: $(DEV)
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/trees docs build/docs
	@echo build/docs/index.html

# Whether what the documentation points at on other machines still answers; no test asks that.
links: $(DEV)
	$(BIN)/python -m sphinx -q -b linkcheck -d build/trees docs build/links

dist: $(DEV)
	$(BIN)/python packaging/build.py dist

KILLS := 1000
EVENTS := 2000000
soak: $(DEV)
	$(BIN)/python -m tests.soak.kill_sweeps $(KILLS)
	$(BIN)/python -m tests.soak.kill_checks $(KILLS)
	$(BIN)/python -m tests.soak.kill_watch $(KILLS)
	$(BIN)/python -m tests.soak.kill_fleet $(KILLS)
	$(BIN)/python -m tests.soak.kill_queue $(KILLS)
	$(BIN)/python -m tests.soak.flat_watch $(EVENTS)

faults: $(DEV)
	$(BIN)/python -m tests.matrix

mutate: $(DEV)
	$(PIP) install --require-hashes --requirement requirements-mutate.lock
	$(BIN)/mutmut run

# Apart, because what audits needs other versions than what is audited.
AUDIT := $(VENV)/audit
AUDITED := requirements.lock requirements-build.lock requirements-dev.lock
audit: $(DEV) $(AUDIT)
	for lock in $(AUDITED); do $(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --requirement $$lock || exit; done

sbom: $(DEV) $(AUDIT)
	mkdir -p dist
	$(AUDIT)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json

$(AUDIT): requirements-audit.lock
	$(PYTHON) -m venv --clear $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement requirements-audit.lock
	touch $(AUDIT)

# --- the virtual environment -------------------------------------------------------------------------------------

# A venv of the same Python is brought up to date in place; one of another Python, or a broken one, is made anew.
define install
	@[ -n "$(PYTHON)" ] || { echo 'make: no usable Python: need Python >= 3.10 with venv and ensurepip' \
		'(Debian, Ubuntu: apt install python3-venv), or name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c '$(USABLE)' || { echo 'make: $(PYTHON) will not do: need Python >= 3.10 with venv and ensurepip' \
		'(Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@version='import sys; print(*sys.version_info[:3])'; \
	[ "$$($(BIN)/python -c "$$version" 2>/dev/null)" = "$$($(PYTHON) -c "$$version")" ] \
		&& $(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| { echo 'making $(VENV) with $(PYTHON)'; $(PYTHON) -m venv --clear $(VENV); }
	@echo 'installing $(1)'
	@rm -f $(VENV)/.run-* $(VENV)/.dev-*
	@$(PIP) install --require-hashes $(addprefix -r ,$(1))
	@$(PIP) install --no-deps --no-build-isolation --editable .
endef

$(RUN):
	$(call install,requirements.lock requirements-build.lock)
	@touch $(RUN)

# The lock for all checks holds the other two, at the same versions.
$(DEV):
	$(call install,requirements-dev.lock)
	@touch $(DEV) $(RUN)

# --- the rest ----------------------------------------------------------------------------------------------------

UV ?= uv
COMPILE = $(UV) --no-config pip compile --quiet --universal --python-version 3.10 $(UPGRADE) \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

# The run-time lock decides; the others add to it, so that one .venv serves both.
lock:
	@command -v $(UV) >/dev/null || { echo 'make lock: uv is missing: python3 -m pip install uv, or make lock UV=/path/to/uv' >&2; exit 1; }
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --constraint requirements.lock --group dev --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock --group build --output-file requirements-build.lock
	$(COMPILE) --group fuzz --output-file requirements-fuzz.lock
	$(COMPILE) --constraint requirements-dev.lock --group mutate --output-file requirements-mutate.lock
	$(COMPILE) --group audit --output-file requirements-audit.lock

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
