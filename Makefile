# make serve         run `dragoman demo`: the shipped mappings on a built-in mock of a model server (PORT=8080)
# make test          run all tests: about five minutes on two idle cores
# make test-fast     run those of the language and the command line: under a minute
# make test-clients  run the npm clients of Ollama and OpenAI against the shipped mappings; needs node and npm
# make test-browser  run those that need Chromium
# make test-soak     run those of the serving path, and those of properties, in their heavy form: hours of traffic
# make test-latest   run all with the newest versions of all dependencies
# Both set up what they need in $(VENV), with no more than Python 3.11 and a package registry.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
# Of the tests: half as many again as there are cores, as many a test waits for a clock; not more than memory allows.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, (3 * (os.cpu_count() or 1) + 1) // 2))')
BIN = $(VENV)/bin

.PHONY: serve test test-fast test-clients test-browser test-soak test-latest lint format types check bench bench-quick bench-document docs lock install clean

serve: $(VENV)/.serve
	exec $(BIN)/dragoman demo --port $(PORT)

test: $(VENV)/.dev
	@echo "all tests: about five minutes on two idle cores; make test-fast takes under a minute"
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
	$(BIN)/dragoman validate mappings examples
	$(BIN)/dragoman test mappings examples

# Without sockets but for those of the command line, and without the properties that take long.
FAST = $(addprefix tests/,language compiler http codecs exchange testing cli) \
    $(addprefix tests/test_,findings.py layering.py reference.py values.py)

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore-glob '*properties*' --ignore-glob '*against*' $(FAST)
	$(BIN)/dragoman test mappings

test-browser: $(VENV)/.dev
	$(BIN)/python -m pytest tests/browser

# The same tests with the newest versions that pyproject.toml allows, in an environment of their own. Not part of
# `check`: what a release of somebody else breaks is to be known, not to stop a change of ours.
test-latest: $(VENV)-latest/.dev
	$(VENV)-latest/bin/python -m pytest -n $(WORKERS) --dist worksteal

# The npm clients are installed into tests/npm/node_modules, as its lock has them.
test-clients: $(VENV)/.dev
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	    (cd tests/npm && npm ci --ignore-scripts) && $(BIN)/python -m pytest tests/npm; \
	else \
	    echo 'test-clients: skipped, as node or npm is not installed'; \
	fi

PROPERTIES = $(addprefix tests/,language compiler http codecs testing translation) $(addprefix tests/,test_values.py)

test-soak: $(VENV)/.dev
	DRAGOMAN_TORTURE=1 $(BIN)/python -m pytest $(addprefix tests/,client observability server stores)
	DRAGOMAN_TORTURE=1 $(BIN)/python -m pytest -n auto $(PROPERTIES)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test

# With AGAINST=path only the CPU time of this checkout, compared with that of another one.
bench: $(VENV)/.dev
ifdef AGAINST
	$(BIN)/python -m benchmarks --against $(AGAINST) --rounds 8
	$(BIN)/python -m benchmarks.callbacks --against $(AGAINST)
else
	$(BIN)/python -m benchmarks.transform --check
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.callbacks
	$(BIN)/python -m benchmarks.doubling --check
endif

bench-quick: $(VENV)/.dev
	$(BIN)/python -m benchmarks.transform --check --rounds 20
	$(BIN)/python -m benchmarks --quick

# The results of docs/benchmarks.md, with its tables and its chart.
bench-document: $(VENV)/.dev
	$(BIN)/python -m benchmarks --install --json docs/benchmarks.json
	$(BIN)/python -m benchmarks.document docs/benchmarks.json

# docs/reference.md, from the schemas and the functions.
docs: $(VENV)/.serve
	$(BIN)/python -m docs.generate

# The locks, with hashes, from pyproject.toml: what the image installs, and what builds it; what development installs.
LOCK = $(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
    --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
BUILD_REQUIRES = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock: $(VENV)-lock/.uv
	$(LOCK) --extra http2 --extra redis pyproject.toml --output-file deploy/requirements.lock
	$(PYTHON) -c '$(BUILD_REQUIRES)' | $(LOCK) - --output-file deploy/requirements-build.lock
	$(PYTHON) -c '$(BUILD_REQUIRES)' | $(LOCK) --extra dev pyproject.toml - --output-file tests/requirements.lock

install: $(VENV)/.serve

clean:
	rm -rf $(VENV) $(VENV)-latest $(VENV)-lock build dist .mypy_cache .ruff_cache .hypothesis

# The marker files record the set-up of a virtual environment; a change of pyproject.toml or a lock renews it.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
PYTHON_IS_NEW_ENOUGH = import sys; sys.exit("Dragoman needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)

$(VENV)/.serve: pyproject.toml deploy/requirements.lock deploy/requirements-build.lock
	$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement deploy/requirements-build.lock
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement deploy/requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.serve tests/requirements.lock
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement tests/requirements.lock
	touch $@

$(VENV)-latest/.dev: pyproject.toml
	$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)'
	$(PYTHON) -m venv --clear $(VENV)-latest
	$(VENV)-latest/bin/python $(PIP_INSTALL) --editable '.[dev]'
	touch $@

# An environment of its own: the others are made from the locks.
$(VENV)-lock/.uv:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python $(PIP_INSTALL) uv
	touch $@
